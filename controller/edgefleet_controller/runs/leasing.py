"""Hands runs to devices. The store alone decides who holds a run: each lease is one fenced statement.

On PostgreSQL a run that any device may take is locked with SKIP LOCKED; on SQLite the transaction is BEGIN IMMEDIATE.
The index ``uq_runs_leased_device`` refuses a second lease of one device, whoever asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from edgefleet_controller.dispatch.roster import Card
from edgefleet_controller.runs import lease_statements as sql

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
    chosen = _heads(connection, [one.card.id for one in plain], now)
    leased = _lease(connection, chosen, now, until)
    for claimant in claimants:
        best = _choose(connection, claimant, now) if claimant.fitting else None
        if best is not None:
            leased |= _lease_open(connection, {claimant.card.id: best}, now, until)
    held = {one.card.id: one.leased_to for one in claimants if one.leased_to is not None and one.card.id in leased}
    if held:
        rows = [{sql.RUN: leased[device_id].run_id, sql.HOLDER: holder} for device_id, holder in held.items()]
        connection.execute(sql.NOTE_HOLDER, rows)
    return leased


def with_work(connection: Connection, device_ids: Sequence[str]) -> set[str]:
    """Those of the devices that queued runs name."""
    return set(connection.scalars(sql.WITH_WORK, {sql.DEVICES: list(device_ids)})) if device_ids else set()


def _heads(connection: Connection, device_ids: Sequence[str], now: datetime) -> dict[str, str]:
    """The next run that names each device, by device."""
    if not device_ids:
        return {}
    rows = connection.execute(sql.HEADS, {sql.DEVICES: list(device_ids), sql.NOW: now})
    return {row.device_id: row.id for row in rows}


def _choose(connection: Connection, claimant: Claimant, now: datetime) -> str | None:
    """The best of the device's own next run and the next ones of each requirement that it meets."""
    card = claimant.card
    own = _heads(connection, [card.id], now).get(card.id)
    candidates = []
    if own is not None:
        named = connection.execute(sql.ONE_RUN, {sql.RUN: own}).one()
        candidates.append(_Candidate(named.id, _rank(1, named, card)))
    elif connection.scalar(sql.MAY_TAKE, {sql.DEVICES: [card.id], sql.NOW: now}) is None:
        return None
    for sha256, n_able in claimant.fitting.items():
        wanted = {sql.REQUIREMENT: sha256, sql.DEVICE: card.id, sql.ARTIFACT: card.last_artifact_sha256}
        for statement in (sql.OPEN_HEAD,) if card.last_artifact_sha256 is None else (sql.OPEN_CACHED, sql.OPEN_HEAD):
            row = connection.execute(statement, wanted).first()
            if row is not None:
                breadth = 1 if row.created_at <= now - PATIENCE else n_able
                candidates.append(_Candidate(row.id, _rank(breadth, row, card)))
    return min(candidates, key=lambda one: one.rank).run_id if candidates else None


def _rank(breadth: int, row: Any, card: Card) -> tuple[Any, ...]:
    return (breadth, row.priority, row.artifact_sha256 != card.last_artifact_sha256, row.id)


def _lease(connection: Connection, chosen: Mapping[str, str], now: datetime, until: datetime) -> dict[str, Leased]:
    """Mark runs that name their devices as leased; those that somebody else took meanwhile are left out."""
    if not chosen:
        return {}
    rows = connection.execute(sql.LEASE_NAMED, {sql.RUNS: list(chosen.values()), sql.NOW: now, sql.UNTIL: until})
    return {row.device_id: _leased(row, until) for row in rows}


def _lease_open(connection: Connection, chosen: Mapping[str, str], now: datetime, until: datetime) -> dict[str, Leased]:
    """The same for runs without a device, one by one."""
    found = {}
    for device_id, run_id in chosen.items():
        wanted = {sql.RUN: run_id, sql.DEVICE: device_id, sql.NOW: now, sql.UNTIL: until}
        for row in connection.execute(sql.LEASE_OPEN, wanted):
            found[row.device_id] = _leased(row, until)
    return found


def _leased(row: Any, until: datetime) -> Leased:
    return Leased(
        run_id=row.id,
        attempt=row.attempt,
        device_id=row.device_id,
        job_id=row.job_id,
        variant_id=row.variant_id,
        comparison_id=row.comparison_id,
        variant_name=row.variant_name,
        order=row.order,
        until=until,
    )
