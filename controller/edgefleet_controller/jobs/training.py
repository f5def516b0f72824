"""What trainings of a job reported while they ran: loss, accuracy, sparsity and whatever their ingredients tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import JobEvent, Variant

TRAINING = "training"
"""Kind of the log's entries that hold figures of a training; they are drawn, and not shown as lines of the log."""

LEAST_STEP = 0.02
"""Share of a training between two kept figures: fifty of them make a curve, and a job with thousands of variants is kept small."""


@dataclass(frozen=True)
class TrainingPoint:
    """Figures at a moment of a training. fraction: share of the step that was done, 0 to 1."""

    variant: str
    fraction: float
    figures: Mapping[str, float]


def figures_of(event: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that a step's progress event carries; empty where it is not about a training."""
    detail = event.get("detail")
    if not isinstance(detail, dict) or "train_loss" not in detail:
        return {}
    return {
        name: float(value)
        for name, value in detail.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def training_points(session: Session, job_id: str) -> Sequence[TrainingPoint]:
    """All that the job's trainings reported, in order."""
    query = (
        select(Variant.name, JobEvent.detail)
        .join(Variant, Variant.id == JobEvent.variant_id)
        .where(JobEvent.job_id == job_id, JobEvent.kind == TRAINING)
        .order_by(JobEvent.id)
    )
    return [
        TrainingPoint(name, float(detail.get("fraction", 0.0)), detail.get("figures", {}))
        for name, detail in session.execute(query)
    ]


def last_training_event(session: Session, job_id: str) -> int:
    """Number of the newest such entry; 0 without one."""
    query = select(func.max(JobEvent.id)).where(JobEvent.job_id == job_id, JobEvent.kind == TRAINING)
    return session.scalar(query) or 0


def last_events(session: Session, job_id: str, limit: int) -> list[JobEvent]:
    """The newest lines of the job's log, oldest first, without what is drawn."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.kind != TRAINING)
    return list(reversed(session.scalars(query.order_by(JobEvent.id.desc()).limit(limit)).all()))
