"""The workers' SQL. Instants are those of the database's clock, so that workers need not agree on the time."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, aliased

from edgefleet_controller.db.tables import Job, LeaderLease, Run, Variant, Worker

WORKING = ("queued", "compressing", "compiling")
"""States of a variant that some task of the engine is to move on."""


def find_locked(session: Session, name: str) -> Worker | None:
    """The worker, locked until the end of the transaction: neither it nor a leader moves it meanwhile."""
    query = select(Worker).where(Worker.name == name).with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def all_workers(session: Session) -> Sequence[Worker]:
    """All workers by name."""
    return session.scalars(select(Worker).order_by(Worker.name)).all()


def beat(session: Session, incarnation: str, now: datetime) -> bool:
    """Write the heartbeat of this very start of a worker; False once it counts as dead or has been replaced."""
    mine = (Worker.incarnation == incarnation, Worker.state == "active")
    done = session.execute(update(Worker).where(*mine).values(heartbeat_at=now).returning(Worker.name))
    return done.first() is not None


def silent_since(session: Session, moment: datetime) -> Sequence[str]:
    """Names of active workers that were not heard of since."""
    query = select(Worker.name).where(Worker.state == "active", Worker.heartbeat_at < moment)
    return session.scalars(query.order_by(Worker.name)).all()


def gone(session: Session) -> Sequence[str]:
    """Names of workers that stopped or died."""
    return session.scalars(select(Worker.name).where(Worker.state != "active").order_by(Worker.name)).all()


def forget_gone(session: Session, before: datetime) -> None:
    """Drop workers that were gone before."""
    session.execute(delete(Worker).where(Worker.state != "active", Worker.heartbeat_at < before))


def live_queues(session: Session, since: datetime) -> set[str]:
    """Queues that some worker heard of since takes tasks from."""
    alive = session.scalars(select(Worker).where(Worker.state == "active", Worker.heartbeat_at >= since))
    return {queue for worker in alive for queue in worker.queues}


def lead(session: Session, name: str, holder: str, now: datetime, lease: timedelta) -> datetime | None:
    """Take or extend the leadership; since when it is held without a break, or None while another one holds it."""
    query = select(LeaderLease).where(LeaderLease.name == name).with_for_update()
    row = session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        row = LeaderLease(name=name, holder=holder, acquired_at=now, expires_at=now + lease)
        session.add(row)
        session.flush()
        return row.acquired_at
    if row.expires_at < now:
        row.holder, row.acquired_at = holder, now
    elif row.holder != holder:
        return None
    row.expires_at = now + lease
    return row.acquired_at


def jobs_with_work(session: Session) -> Sequence[str]:
    """Jobs that some task of the engine is to move on, oldest first."""
    working = select(Variant.id).where(Variant.job_id == Job.id, Variant.state.in_(WORKING)).exists()
    query = select(Job.id).where(Job.state.in_(("queued", "running")), working)
    return session.scalars(query.order_by(Job.id)).all()


def jobs_without_work(session: Session) -> Collection[str]:
    """Running jobs whose variants have all ended."""
    unfinished = select(Variant.id).where(Variant.job_id == Job.id, Variant.state.in_((*WORKING, "dispatched")))
    return session.scalars(select(Job.id).where(Job.state == "running", ~unfinished.exists())).all()


def runs_of_unsettled_variants(session: Session) -> Sequence[Run]:
    """One run of each variant that waits for its boards although all its runs have ended."""
    other = aliased(Run)
    unfinished = select(other.id).where(other.variant_id == Variant.id, other.state.in_(("queued", "leased")))
    query = select(Run).join(Variant, Variant.id == Run.variant_id)
    runs = session.scalars(query.where(Variant.state == "dispatched", ~unfinished.exists()))
    return list({run.variant_id: run for run in runs}.values())


def find_run(session: Session, run_id: str) -> Run:
    """The run with this identifier."""
    return session.get_one(Run, run_id)
