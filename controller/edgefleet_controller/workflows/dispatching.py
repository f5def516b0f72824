"""Queues a variant's runs, and settles at once those that could never be carried out."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Artifact, Device, Job, Run
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.dispatch.runtime_versions import newest
from edgefleet_controller.jobs.sweep import settings_of
from edgefleet_controller.runs import service as runs
from edgefleet_controller.runs.suitability import estimate_memory_bytes, why_unsuitable
from edgefleet_controller.workflows import repository
from edgefleet_controller.workflows.compiled import golden_ref
from edgefleet_controller.workflows.journal import set_state
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_deploy.targets import Target, get_target

JsonObject = dict[str, Any]


def dispatch(database: Database, variant_id: str) -> None:
    """Queue a run for each device and settings of the job; a repeat finds them. Nothing for a variant that was stopped."""
    with database.writing() as session:
        repository.lock_job_of(session, variant_id)
        variant = repository.load_variant_work(session, variant_id)
        if variant.is_stopped or variant.artifact_key is None:
            return
        artifact = repository.find_artifact(session, variant.artifact_key)
        assert artifact is not None
        job = repository.locked_job(session, variant.job_id)
        order = _order(job, artifact)
        swept = [settings.model_dump(mode="json") for settings in settings_of(job.request)]
        queued = [
            run
            for ordinal, settings in enumerate(swept)
            for run in _enqueue(session, variant, job, artifact, order | {"settings": settings}, ordinal)
        ]
        for run in queued:
            run.priority = variant.fair_tag
        set_state(session, variant, "dispatched", f"{variant.name}: waits for the boards")
        refuse_unsuitable(session, queued, get_target(variant.target), artifact.manifest)


def _enqueue(
    session: Session, variant: VariantWork, job: Job, artifact: Artifact, order: JsonObject, settings_ordinal: int
) -> list[Run]:
    """The runs of one settings: one for each device that the job names, or as many as it wants of those that fit."""
    if job.request.get("any_of"):
        needed = requirement_of(job.request.get("match") or {}, get_target(variant.target), artifact.manifest)
        needed = needed.model_copy(update={"project_id": job.project_id})
        return [
            runs.enqueue_open_run(
                session,
                variant.job_id,
                variant.variant_id,
                needed,
                order,
                slot=slot,
                settings_ordinal=settings_ordinal,
            )
            for slot in range(int(job.request["any_of"]))
        ]
    return [
        runs.enqueue_run(
            session, variant.job_id, variant.variant_id, device_id, order, settings_ordinal=settings_ordinal
        )
        for device_id in job.request["device_ids"]
    ]


def requirement_of(match: Mapping[str, Any], target: Target, manifest: Mapping[str, Any]) -> Requirement:
    """What a device needs for a compiled file, beside what the job asks for."""
    wanted = Requirement.model_validate(dict(match))
    both = tuple(board for board in target.boards if board in wanted.boards)
    least = estimate_memory_bytes(int(manifest["size_bytes"]), manifest.get("operators") or ())
    return wanted.model_copy(
        update={
            "boards": both or tuple(target.boards) or wanted.boards,
            "runtime": target.runtime,
            "min_runtime_version": newest(manifest.get("min_runtime_version"), wanted.min_runtime_version),
            "min_memory_bytes": max(least, wanted.min_memory_bytes or 0),
        }
    )


def _order(job: Job, artifact: Artifact) -> JsonObject:
    return {
        "runtime": get_target(artifact.target).runtime,
        "artifact": {"sha256": artifact.sha256, "size_bytes": artifact.size_bytes},
        "artifact_name": artifact.manifest["file_name"],
        "manifest": artifact.manifest,
        "evaluation": (job.prepared or {}).get("evaluation"),
        "golden": golden_ref(artifact.manifest),
    }


def refuse_unsuitable(session: Session, queued: Sequence[Run], target: Target, manifest: Mapping[str, Any]) -> None:
    """Fail at once the runs that their devices could never carry out, so that nothing waits for ever.

    The variant must be in state dispatched: it ends here where no run is left.
    """
    for run in queued:
        if run.device_id is None:
            continue  # only devices that fit are given it
        device = session.get_one(Device, run.device_id)
        error = why_unsuitable(target, manifest, device)
        if error is not None:
            runs.refuse_run(session, run, error)
