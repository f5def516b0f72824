"""Hands runs to devices. The store alone decides who holds a run: each lease is one fenced statement.

On PostgreSQL a run that any device may take is locked with SKIP LOCKED; on SQLite the transaction is BEGIN IMMEDIATE.
The index ``uq_runs_leased_device`` refuses a second lease of one device, whoever asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, case, cast, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from edgefleet_controller.db.tables import Device, Run, Variant
from edgefleet_controller.dispatch.roster import Card

PATIENCE = timedelta(minutes=10)
"""A run that many devices could take waits so long for one that no scarcer run needs; then it takes its turn."""


@dataclass(frozen=True)
class Claimant:
    """A device that asks for a run, and the runs without a device that it may serve.

    ``fitting``: by the hash of a requirement, how many active devices meet it.
    """

    card: Card
    fitting: Mapping[str, int]
    leased_to: str | None = None


@dataclass(frozen=True)
class Leased:
    """A run that was handed out; ``order`` is the JSON text of its order."""

    run_id: str
    attempt: int
    device_id: str
    job_id: str | None
    variant_id: str | None
    comparison_id: str | None
    variant_name: str | None
    order: str
    until: datetime


@dataclass(frozen=True)
class _Candidate:
    run_id: str
    rank: tuple[Any, ...]
    """the smallest is leased: how many could take it, priority, whether the device has its file, age"""


def lease_next(
    connection: Connection, claimants: Sequence[Claimant], now: datetime, until: datetime
) -> dict[str, Leased]:
    """Lease the next run of each device, by device; one that holds a run, rests or is not active gets none."""
    plain = [one for one in claimants if not one.fitting]
    chosen = {row.device_id: row.id for row in connection.execute(_heads([one.card.id for one in plain], now))}
    leased = _lease(connection, chosen, {one.card.id: one.leased_to for one in plain}, now, until)
    for claimant in claimants:
        if claimant.fitting:
            best = _choose(connection, claimant, now)
            if best is not None:
                one = {claimant.card.id: best}
                leased |= _lease(connection, one, {claimant.card.id: claimant.leased_to}, now, until)
    return leased


def _holds_none(device_id: Any) -> ColumnElement[bool]:
    held = aliased(Run)
    return ~exists(select(held.id).where(held.device_id == device_id, held.state == "leased"))


def _may_take(device_ids: Sequence[str], now: datetime) -> ColumnElement[bool]:
    rested = or_(Device.rests_until.is_(None), Device.rests_until <= now)
    return and_(Device.id.in_(device_ids), Device.state == "active", rested, _holds_none(Device.id))


def _heads(device_ids: Sequence[str], now: datetime) -> Select[Any]:
    """The next run that names each device: by priority, among equals one whose file the device has, then by age."""
    first, same, top = aliased(Run), aliased(Run), aliased(Run)
    waiting = and_(first.device_id == Device.id, first.state == "queued")
    head = select(first.id).where(waiting).order_by(first.priority, first.id).limit(1)
    least = select(func.min(top.priority)).where(top.device_id == Device.id, top.state == "queued")
    cached = select(same.id).where(
        same.artifact_sha256 == Device.last_artifact_sha256,
        same.device_id == Device.id,
        same.state == "queued",
        same.priority == least.scalar_subquery(),
    )
    chosen = func.coalesce(cached.order_by(same.id).limit(1).scalar_subquery(), head.scalar_subquery())
    query = select(Device.id.label("device_id"), chosen.label("id")).where(_may_take(device_ids, now))
    found = query.subquery()
    return select(found.c.device_id, found.c.id).where(found.c.id.is_not(None))


def _choose(connection: Connection, claimant: Claimant, now: datetime) -> str | None:
    """The best of the device's own next run and the next ones of each requirement that it meets."""
    card = claimant.card
    own = connection.execute(_heads([card.id], now)).first()
    if own is None and connection.scalar(select(Device.id).where(_may_take([card.id], now))) is None:
        return None
    candidates = []
    if own is not None:
        named = connection.execute(select(Run.id, Run.priority, Run.artifact_sha256).where(Run.id == own.id)).one()
        candidates.append(_Candidate(named.id, _rank(1, named, card)))
    for sha256, n_able in claimant.fitting.items():
        for extra in _preferences(card):
            row = connection.execute(_open_head(sha256, card.id, extra)).first()
            if row is None:
                continue
            breadth = 1 if row.created_at <= now - PATIENCE else n_able
            candidates.append(_Candidate(row.id, _rank(breadth, row, card)))
    return min(candidates, key=lambda one: one.rank).run_id if candidates else None


def _preferences(card: Card) -> list[ColumnElement[bool] | None]:
    return [None] if card.last_artifact_sha256 is None else [Run.artifact_sha256 == card.last_artifact_sha256, None]


def _rank(breadth: int, row: Any, card: Card) -> tuple[Any, ...]:
    return (breadth, row.priority, row.artifact_sha256 != card.last_artifact_sha256, row.id)


def _open_head(sha256: str, device_id: str, extra: ColumnElement[bool] | None) -> Select[Any]:
    """The next run with the requirement, of a variant that the device has no run of with the same settings."""
    other = aliased(Run)
    had = exists(
        select(other.id).where(
            other.variant_id == Run.variant_id,
            other.device_id == device_id,
            other.settings_ordinal == Run.settings_ordinal,
        )
    )
    query: Any = select(Run.id, Run.priority, Run.artifact_sha256, Run.created_at).where(
        Run.requirement_sha256 == sha256, Run.state == "queued", Run.device_id.is_(None), ~had
    )
    if extra is not None:
        query = query.where(extra)
    found: Select[Any] = query.order_by(Run.priority, Run.id).limit(1).with_for_update(of=Run, skip_locked=True)
    return found


def _lease(
    connection: Connection,
    chosen: Mapping[str, str],
    leased_to: Mapping[str, str | None],
    now: datetime,
    until: datetime,
) -> dict[str, Leased]:
    """Mark the runs as leased, ``chosen`` by device; those that somebody else took meanwhile are left out."""
    if not chosen:
        return {}
    device_of = {run_id: device_id for device_id, run_id in chosen.items()}
    holder_of = {run_id: leased_to[device_id] or "" for run_id, device_id in device_of.items()}
    statement = (
        update(Run)
        .where(Run.id.in_(device_of), Run.state == "queued")
        .values(
            state="leased",
            attempt=Run.attempt + 1,
            phase=None,
            lease_expires_at=until,
            started_at=func.coalesce(Run.started_at, now, type_=Run.started_at.type),
            device_id=case(device_of, value=Run.id),
            leased_to=func.nullif(case(holder_of, value=Run.id), ""),
        )
        .returning(
            Run.id,
            Run.attempt,
            Run.job_id,
            Run.variant_id,
            Run.comparison_id,
            cast(Run.order, Text).label("order"),
            select(Variant.name).where(Variant.id == Run.variant_id).scalar_subquery().label("variant_name"),
        )
    )
    return {
        device_of[row.id]: Leased(
            run_id=row.id,
            attempt=row.attempt,
            device_id=device_of[row.id],
            job_id=row.job_id,
            variant_id=row.variant_id,
            comparison_id=row.comparison_id,
            variant_name=row.variant_name,
            order=row.order,
            until=until,
        )
        for row in connection.execute(statement)
    }
