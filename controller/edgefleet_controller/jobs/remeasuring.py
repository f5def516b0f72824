"""Measures a job's artifacts once more: a new job that compresses and compiles nothing."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_controller.artifacts.errors import UnknownArtifactNamed
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Job, Variant
from edgefleet_controller.devices import service as devices
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.errors import NotFound
from edgefleet_controller.jobs import repository
from edgefleet_controller.jobs.errors import NothingToMeasure
from edgefleet_controller.jobs.events import record_event
from edgefleet_controller.jobs.schemas import RemeasureCreate
from edgefleet_controller.jobs.sweep import refuse_too_many, settings_of
from edgefleet_controller.jobs.turns import take_turns

JsonObject = dict[str, Any]
REMEASURE = "POST /v1/jobs/remeasure"
"""The operation that idempotency keys are of, with the job's identifier."""


def remeasure(session: Session, job_id: str, wanted: RemeasureCreate) -> Job:
    """A queued job over the artifacts of another one; NothingToMeasure where that one has none."""
    source = repository.find(session, job_id)
    if source is None:
        raise NotFound(f"There is no job {job_id!r}; list them with `edgefleet job ls`.")
    chosen = _chosen(repository.variants_of(session, job_id), wanted.variants)
    request = _request(session, source, wanted)
    n_devices = request.get("any_of") or len(request["device_ids"])
    refuse_too_many(len(chosen) * n_devices * len(settings_of(request)))
    job = Job(
        id=new_id("job"),
        name=wanted.name or source.name,
        model_id=source.model_id,
        state="queued",
        request=request,
        evaluation_sha256=source.evaluation_sha256,
        prepared=source.prepared,
        progress=0.0,
        message="waits for a worker",
        created_at=now_of(session),
        deadline_at=wanted.deadline,
        identity_sha256=source.identity_sha256,
        remeasure_of=source.id,
        version=1,
    )
    variants = [_copy(job, ordinal, variant) for ordinal, variant in enumerate(chosen)]
    take_turns(session, job, variants, wanted.priority)
    repository.add(session, job, *variants)
    record_event(session, job.id, "submitted", f"measures {len(variants)} artifacts of {source.id} again")
    announce(session, "job_created", job.id)
    return job


def _request(session: Session, source: Job, wanted: RemeasureCreate) -> JsonObject:
    """The source's request with what is to be different.

    Where it was left open which devices measure, it is left open again, unless devices are named now.
    """
    changes = wanted.model_dump(mode="json", exclude_none=True, exclude={"variants"})
    request = source.request | changes | {"after": []}
    if wanted.devices is not None:
        found = devices.choose(session, wanted.devices)
        return request | {"device_ids": [device.id for device in found], "any_of": None, "match": None}
    if request.get("any_of"):
        requirement = Requirement.model_validate(request.get("match") or {})
        devices.choose(session, None, requirement, request["any_of"])  # NoDevices, before anything waits for ever
        return request
    found = devices.choose(session, request["device_ids"])
    return request | {"device_ids": [device.id for device in found]}


def _chosen(variants: Sequence[Variant], names: Sequence[str] | None) -> list[Variant]:
    compiled = [variant for variant in variants if variant.artifact_key is not None]
    if not compiled:
        raise NothingToMeasure("The job has no artifact to measure: nothing was compiled. Submit it again.")
    if names is None:
        return compiled
    missing = sorted(set(names) - {variant.name for variant in compiled})
    if missing:
        raise UnknownArtifactNamed(f"The job has no compiled variant called {missing[0]!r}.")
    return [variant for variant in compiled if variant.name in names]


def _copy(job: Job, ordinal: int, variant: Variant) -> Variant:
    return Variant(
        id=new_id("var"),
        job_id=job.id,
        ordinal=ordinal,
        name=variant.name,
        recipe=variant.recipe,
        recipe_sha256=variant.recipe_sha256,
        target=variant.target,
        state="queued",
        compression_key=variant.compression_key,
        compression_cached=True,
        artifact_key=variant.artifact_key,
        compute=variant.compute,
    )
