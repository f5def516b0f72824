"""The rollouts' SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import AgentRelease, Device, Rollout, RolloutDevice
from edgefleet_controller.pagination import PageRequest, fetch_page
from edgefleet_controller.rollouts.stages import FAILED, OPEN, UNFINISHED


class Progress(NamedTuple):
    """One board of a rollout."""

    name: str
    agent_version: str | None
    row: RolloutDevice


def find_release(session: Session, version_or_id: str) -> AgentRelease | None:
    """The release with this version or identifier."""
    named = or_(AgentRelease.version == version_or_id, AgentRelease.id == version_or_id)
    return session.scalar(select(AgentRelease).where(named))


def find(session: Session, rollout_id: str) -> Rollout | None:
    """The rollout with this identifier."""
    return session.get(Rollout, rollout_id)


def find_locked(session: Session, rollout_id: str) -> Rollout | None:
    """The same, locked until the end of the transaction."""
    query = select(Rollout).where(Rollout.id == rollout_id).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))


def page_of_rollouts(session: Session, page: PageRequest) -> tuple[list[Rollout], str | None]:
    """Rollouts, newest first."""
    return fetch_page(session, select(Rollout), Rollout.id, page)


def open_rollouts(session: Session) -> Sequence[str]:
    """Identifiers of rollouts that are not over, oldest first."""
    return session.scalars(select(Rollout.id).where(Rollout.state.in_(OPEN)).order_by(Rollout.id)).all()


def progress(session: Session, rollout_id: str) -> Sequence[Progress]:
    """The rollout's boards, canaries first."""
    query = select(Device.name, Device.agent_version, RolloutDevice).join(Device, Device.id == RolloutDevice.device_id)
    query = query.where(RolloutDevice.rollout_id == rollout_id)
    ordered = query.order_by(RolloutDevice.is_canary.desc(), Device.name)
    return [Progress(*row) for row in session.execute(ordered)]


def in_open_rollouts(session: Session, device_ids: Collection[str]) -> set[str]:
    """Which of the boards an open rollout is about already."""
    query = select(RolloutDevice.device_id).join(Rollout, Rollout.id == RolloutDevice.rollout_id)
    open_ones = set(session.scalars(query.where(Rollout.state.in_(OPEN), RolloutDevice.state.in_(UNFINISHED))))
    return open_ones & set(device_ids)


def counts(session: Session, rollout_id: str) -> dict[bool, dict[str, int]]:
    """Numbers of boards by state: of the canaries (True) and of the others (False)."""
    query = select(RolloutDevice.is_canary, RolloutDevice.state, func.count())
    query = query.where(RolloutDevice.rollout_id == rollout_id).group_by(RolloutDevice.is_canary, RolloutDevice.state)
    found: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for is_canary, state, n in session.execute(query):
        found[is_canary][state] = n
    return found


def settle_check_ins(session: Session, rollout: Rollout, version: str, now: datetime) -> None:
    """Boards whose agents have checked in with the version have it."""
    has_it = select(Device.id).where(Device.agent_version == version)
    mine = (RolloutDevice.rollout_id == rollout.id, RolloutDevice.state.in_(UNFINISHED))
    session.execute(
        update(RolloutDevice)
        .where(*mine, RolloutDevice.device_id.in_(has_it))
        .values(state="updated", finished_at=now, message=None)
        .execution_options(synchronize_session=False)
    )


def fail_silent(session: Session, rollout: Rollout, offered_before: datetime, now: datetime, message: str) -> None:
    """Boards that took the offer and have not been heard of with the new version since."""
    mine = (RolloutDevice.rollout_id == rollout.id, RolloutDevice.state == "offered")
    session.execute(
        update(RolloutDevice)
        .where(*mine, RolloutDevice.offered_at < offered_before)
        .values(state="failed", finished_at=now, message=message)
        .execution_options(synchronize_session=False)
    )


def drop_revoked(session: Session, rollout: Rollout) -> None:
    """Forget boards that were revoked before they were offered anything."""
    revoked = select(Device.id).where(Device.state == "revoked")
    mine = (RolloutDevice.rollout_id == rollout.id, RolloutDevice.state == "pending")
    query = delete(RolloutDevice).where(*mine, RolloutDevice.device_id.in_(revoked))
    session.execute(query.execution_options(synchronize_session=False))


def reasons(session: Session, rollout_id: str, limit: int) -> Sequence[str]:
    """Why boards failed, with their names."""
    query = select(Device.name, RolloutDevice.message).join(Device, Device.id == RolloutDevice.device_id)
    mine = (RolloutDevice.rollout_id == rollout_id, RolloutDevice.state.in_(FAILED))
    rows = session.execute(query.where(*mine).order_by(RolloutDevice.finished_at).limit(limit))
    return [f"{name}: {message}" for name, message in rows]


def due_devices(session: Session, rollout: Rollout) -> Sequence[str]:
    """Boards that the rollout's present stage is waiting for."""
    mine = [RolloutDevice.rollout_id == rollout.id, RolloutDevice.state.in_(UNFINISHED)]
    if rollout.state == "canary":
        mine.append(RolloutDevice.is_canary.is_(True))
    return session.scalars(select(RolloutDevice.device_id).where(*mine)).all()


def find_due(session: Session, device_id: str) -> tuple[Rollout, RolloutDevice, AgentRelease] | None:
    """What the board is to be offered now."""
    query = select(Rollout, RolloutDevice, AgentRelease).join(Rollout, Rollout.id == RolloutDevice.rollout_id)
    query = query.join(AgentRelease, AgentRelease.id == Rollout.release_id)
    is_its_turn = or_(RolloutDevice.is_canary.is_(True), Rollout.state == "rolling")
    mine = (RolloutDevice.device_id == device_id, RolloutDevice.state.in_(UNFINISHED), Rollout.state.in_(OPEN))
    found = session.execute(query.where(*mine, is_its_turn).order_by(Rollout.id)).first()
    return None if found is None else (found[0], found[1], found[2])


def find_device(session: Session, rollout_id: str, device_id: str) -> RolloutDevice | None:
    """How far the rollout is on the board; locked until the end of the transaction."""
    return session.get(RolloutDevice, (rollout_id, device_id), with_for_update=True)
