"""The comparisons' SQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Artifact, Comparison, ComparisonResult, Device, Job, Result, Run, Variant
from edgefleet_controller.pagination import PageRequest, fetch_page


@dataclass(frozen=True)
class ComparedRun:
    """A run of a comparison with what came of it."""

    run: Run
    device: Device
    result: Result | None
    figures: ComparisonResult | None


def add(session: Session, row: Comparison) -> None:
    """Insert the row now."""
    session.add(row)
    session.flush()


def find(session: Session, comparison_id: str) -> Comparison | None:
    """The comparison with this identifier."""
    return session.get(Comparison, comparison_id)


def page_of_comparisons(session: Session, page: PageRequest) -> tuple[list[Comparison], str | None]:
    """Comparisons, newest first."""
    return fetch_page(session, select(Comparison), Comparison.id, page)


def runs_of(session: Session, comparison_ids: Collection[str]) -> list[ComparedRun]:
    """All runs of these comparisons in order of the devices' names."""
    query = (
        select(Run, Device, Result, ComparisonResult)
        .join(Device, Device.id == Run.device_id)
        .outerjoin(Result, Result.run_id == Run.id)
        .outerjoin(ComparisonResult, ComparisonResult.run_id == Run.id)
        .where(Run.comparison_id.in_(comparison_ids))
        .order_by(Device.name)
        .execution_options(populate_existing=True)
    )
    return [ComparedRun(*row) for row in session.execute(query)]


def artifacts_with_hash(session: Session, sha256: str) -> Sequence[Artifact]:
    """Compilations that gave this file, the newest first."""
    query = select(Artifact).where(Artifact.sha256 == sha256).order_by(Artifact.created_at.desc(), Artifact.key_sha256)
    return session.scalars(query).all()


def variant_of_job(session: Session, job_id: str, name_or_id: str) -> tuple[Job, Variant, Artifact | None] | None:
    """A job's variant by name or identifier, with its artifact if it was compiled."""
    query = (
        select(Job, Variant, Artifact)
        .join(Variant, Variant.job_id == Job.id)
        .outerjoin(Artifact, Artifact.key_sha256 == Variant.artifact_key)
        .where(Job.id == job_id, (Variant.id == name_or_id) | (Variant.name == name_or_id))
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1], row[2])
