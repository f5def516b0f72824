"""What the steps of a job read and write in the store. Sync; every function is one short transaction's body."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from edgefleet_controller.blobs.repository import touch
from edgefleet_controller.db.tables import Artifact, Blob, Compression, FairClock, Job, Model, Variant
from edgefleet_controller.jobs.fairness import FAIR_CLOCK, Priority, advanced

JsonObject = dict[str, Any]

JOB_ENDED = ("completed", "failed", "cancelled")
VARIANT_ENDED = ("completed", "failed", "cancelled")
JOB_STOPPING = ("cancelling", "cancelled")
LATEST_JOBS = 20
"""How many earlier jobs of a model are looked at for an evaluation set that was made already."""


@dataclass(frozen=True)
class VariantWork:
    """All that a compress, compile or dispatch step needs to know, detached from the session."""

    variant_id: str
    job_id: str
    name: str
    recipe: JsonObject
    recipe_sha256: str
    target: str
    is_stopped: bool
    is_dispatched: bool
    no_cache: bool
    seed: int
    model_sha256: str
    model_format: str
    data: JsonObject | None
    evaluation_sha256: str | None
    data_sha256: str | None
    compression_key: str | None
    artifact_key: str | None
    compute: str
    fair_tag: int
    priority: Priority


def load_variant_work(session: Session, variant_id: str) -> VariantWork:
    """The variant with its job and model; LookupError if it is gone."""
    row = session.execute(
        select(Variant, Job, Model)
        .join(Job, Job.id == Variant.job_id)
        .join(Model, Model.id == Job.model_id)
        .where(Variant.id == variant_id)
    ).one_or_none()
    if row is None:
        raise LookupError(f"variant {variant_id} does not exist")
    variant, job, model = row
    return VariantWork(
        variant_id=variant.id,
        job_id=job.id,
        name=variant.name,
        recipe=variant.recipe,
        recipe_sha256=variant.recipe_sha256,
        target=variant.target,
        is_stopped=job.state in JOB_STOPPING or variant.state in VARIANT_ENDED,
        is_dispatched=variant.state == "dispatched",
        no_cache=bool(job.request.get("no_cache", False)),
        seed=_seed(job.request, variant.recipe),
        model_sha256=model.blob_sha256,
        model_format=model.format,
        data=model.data,
        evaluation_sha256=job.evaluation_sha256,
        data_sha256=(job.prepared or {}).get("data_sha256"),
        compression_key=variant.compression_key,
        artifact_key=variant.artifact_key,
        compute=variant.compute,
        fair_tag=variant.fair_tag,
        priority=cast(Priority, job.priority),
    )


def _seed(request: JsonObject, recipe: JsonObject) -> int:
    """The job's seed where a person gave one, else the recipe's own."""
    wanted = request.get("seed")
    return int(recipe.get("seed", 0) if wanted is None else wanted)


def locked_job(session: Session, job_id: str) -> Job:
    """The job, locked against other writers where the store can; LookupError if it is gone."""
    query = select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    job = session.execute(query).scalar_one_or_none()
    if job is None:
        raise LookupError(f"job {job_id} does not exist")
    return job


def lock_job_of(session: Session, variant_id: str) -> None:
    """Let no one stop the job of a variant until the transaction ends; call it before reading whether it is stopped."""
    query = select(Job).join(Variant, Variant.job_id == Job.id).where(Variant.id == variant_id)
    session.execute(query.with_for_update(of=Job).execution_options(populate_existing=True))


def find_model(session: Session, model_id: str) -> Model:
    """The model of a job."""
    return session.execute(select(Model).where(Model.id == model_id)).scalar_one()


def variants_of(session: Session, job_id: str) -> Sequence[Variant]:
    """The job's variants in their order."""
    return session.execute(select(Variant).where(Variant.job_id == job_id).order_by(Variant.ordinal)).scalars().all()


def find_variant(session: Session, variant_id: str) -> Variant:
    """The variant, locked against other writers where the store can."""
    return session.execute(select(Variant).where(Variant.id == variant_id).with_for_update()).scalar_one()


def find_compression(session: Session, key_sha256: str) -> Compression | None:
    """A cached compression."""
    return session.get(Compression, key_sha256)


def find_artifact(session: Session, key_sha256: str) -> Artifact | None:
    """A cached compilation."""
    return session.get(Artifact, key_sha256)


def add_blob(session: Session, sha256: str, size_bytes: int, media_type: str, now: datetime) -> None:
    """Record a stored file once, and that it is used now."""
    if session.get(Blob, sha256) is None:
        session.add(Blob(sha256=sha256, size_bytes=size_bytes, media_type=media_type, created_at=now))
        session.flush()
    else:
        touch(session, sha256)


def prepared_before(session: Session, model_id: str, key_sha256: str) -> Job | None:
    """The newest job of the model whose evaluation set was made from the same; None if there is none."""
    query = select(Job).where(Job.model_id == model_id, Job.started_at.is_not(None)).order_by(Job.created_at.desc())
    candidates = session.scalars(query.limit(LATEST_JOBS))
    return next((job for job in candidates if (job.prepared or {}).get("key_sha256") == key_sha256), None)


def advance_fair_clock(session: Session, begun_tag: int, priority: Priority) -> None:
    """Let the virtual time go on: a unit with this tag begins."""
    clock = session.get(FairClock, FAIR_CLOCK, with_for_update=True)
    if clock is None:
        dialect = session.get_bind().dialect.name
        insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
        session.execute(insert(FairClock).values(name=FAIR_CLOCK, virtual_time=0).on_conflict_do_nothing())
        clock = session.get_one(FairClock, FAIR_CLOCK, with_for_update=True)
    clock.virtual_time = advanced(clock.virtual_time, begun_tag, priority)
