"""Reads what the rows of a job's table are made of."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Artifact, Device, Result, Run, Variant


@dataclass(frozen=True)
class VariantRecord:
    """A variant with its artifact, and with one of its runs if it has any."""

    variant: Variant
    artifact: Artifact | None
    run: Run | None
    device: Device | None
    result: Result | None


def records_of_job(session: Session, job_id: str) -> list[VariantRecord]:
    """One record for each variant and run, in the order of the job's variants, then of devices and settings."""
    query = (
        select(Variant, Artifact, Run, Device, Result)
        .outerjoin(Artifact, Artifact.key_sha256 == Variant.artifact_key)
        .outerjoin(Run, Run.variant_id == Variant.id)
        .outerjoin(Device, Device.id == Run.device_id)
        .outerjoin(Result, Result.run_id == Run.id)
        .where(Variant.job_id == job_id)
        .order_by(Variant.ordinal, Run.device_id, Run.settings_ordinal, Run.id)
    )
    return [VariantRecord(*row) for row in session.execute(query)]
