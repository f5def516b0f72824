"""What is known of a board's health: the conditions right after its last run. Agents report them with runs only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device, Result, Run

NOW_BITS: Mapping[int, str] = MappingProxyType(
    {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_temperature_limit"}
)
"""Bits of ``vcgencmd get_throttled`` (Raspberry Pi documentation, "vcgencmd"); 16 higher: it happened since boot."""
SINCE_BOOT_SHIFT = 16


@dataclass(frozen=True)
class BoardConditions:
    """The state of a board at the end of a run.

    hottest_c: the hottest thermal zone, degrees C. now: what limited the board at that moment; since_boot: what did
    before. All are empty or None where the board does not tell.
    """

    run_id: str
    at: datetime | None
    hottest_c: float | None
    now: tuple[str, ...]
    since_boot: tuple[str, ...]


def read_conditions(run_id: str, at: datetime | None, after: Mapping[str, Any] | None) -> BoardConditions:
    """The conditions of a report's ``environment.after``."""
    found = after or {}
    bits = found.get("throttled_bits") or 0
    now = [name for bit, name in NOW_BITS.items() if bits >> bit & 1]
    if found.get("under_voltage_alarm") and "under_voltage" not in now:
        now.insert(0, "under_voltage")
    earlier = [name for bit, name in NOW_BITS.items() if bits >> bit + SINCE_BOOT_SHIFT & 1 and name not in now]
    zones = (found.get("temperatures_c") or {}).values()
    return BoardConditions(run_id, at, max(zones, default=None), tuple(now), tuple(earlier))


def last_conditions(session: Session, device_ids: Collection[str]) -> dict[str, BoardConditions]:
    """By device, those of the run that it ended last; a device without one is left out. One index look-up for each."""
    last_run = (
        select(Run.id)
        .where(Run.device_id == Device.id, Run.finished_at.is_not(None))
        .order_by(Run.finished_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    found = session.execute(select(Device.id, last_run).where(Device.id.in_(device_ids))).all()
    device_of = {run_id: device_id for device_id, run_id in found if run_id is not None}
    query = select(Result.run_id, Result.created_at, Result.report["environment"]["after"])
    rows = session.execute(query.where(Result.run_id.in_(device_of)))
    return {device_of[run_id]: read_conditions(run_id, at, after) for run_id, at, after in rows}


@dataclass(frozen=True)
class CurrentRun:
    """What a device works on now."""

    run_id: str
    job_id: str | None
    phase: str | None
    started_at: datetime | None


def current_runs(session: Session, device_ids: Sequence[str]) -> dict[str, CurrentRun]:
    """By device, the run that it holds."""
    query = select(Run.device_id, Run.id, Run.job_id, Run.phase, Run.started_at)
    rows = session.execute(query.where(Run.state == "leased", Run.device_id.in_(device_ids)))
    return {row.device_id: CurrentRun(row.id, row.job_id, row.phase, row.started_at) for row in rows}
