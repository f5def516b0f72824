"""Gives the variants of a new job their turn, see ``jobs.fairness``."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.auth.caller import name_for_new_rows
from edgefleet_controller.db.tables import FairClock, Job, Variant
from edgefleet_controller.jobs.fairness import FAIR_CLOCK, PRIORITIES, Priority, assign_tags


def take_turns(session: Session, job: Job, variants: Sequence[Variant], priority: Priority) -> None:
    """Tag the variants and note where the user's next job begins."""
    clock = session.get(FairClock, FAIR_CLOCK)
    tags = assign_tags(
        virtual_time=0 if clock is None else clock.virtual_time,
        user_end=_end_of(session, name_for_new_rows(), priority),
        n_units=len(variants),
        priority=priority,
    )
    job.priority, job.fair_end = priority, tags.user_end
    for position, variant in enumerate(variants):
        variant.fair_tag = tags.tag_of(position)


def _end_of(session: Session, user: str | None, priority: Priority) -> int | None:
    """Where the user's unfinished work of this or a higher priority ends; cancelled work counts for nothing."""
    same_or_higher = PRIORITIES[PRIORITIES.index(priority) :]
    query = select(func.max(Job.fair_end)).where(Job.created_by == user if user else Job.created_by.is_(None))
    open_jobs = query.where(Job.priority.in_(same_or_higher), Job.state.in_(("waiting", "queued", "running")))
    return session.scalar(open_jobs)
