"""The statements of leasing, built once: building them for each claim costs more than running them."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, cast, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from edgefleet_controller.db.tables import Device, Run, UtcDateTime, Variant

RUN: Final = "p_run"
RUNS: Final = "p_runs"
DEVICE: Final = "p_device"
DEVICES: Final = "p_devices"
REQUIREMENT: Final = "p_requirement"
ARTIFACT: Final = "p_artifact"
HOLDER: Final = "p_holder"
NOW: Final = "p_now"
UNTIL: Final = "p_until"

_now: Any = bindparam(NOW, type_=UtcDateTime())


def _holds_none() -> ColumnElement[bool]:
    held = aliased(Run)
    return ~exists(select(held.id).where(held.device_id == Device.id, held.state == "leased"))


def _may_take() -> ColumnElement[bool]:
    rested = or_(Device.rests_until.is_(None), Device.rests_until <= _now)
    chosen = Device.id.in_(bindparam(DEVICES, expanding=True))
    return and_(chosen, Device.state == "active", rested, _holds_none())


def _heads() -> Select[Any]:
    first, same, top = aliased(Run), aliased(Run), aliased(Run)
    head = select(first.id).where(first.device_id == Device.id, first.state == "queued")
    least = select(func.min(top.priority)).where(top.device_id == Device.id, top.state == "queued")
    cached = select(same.id).where(
        same.artifact_sha256 == Device.last_artifact_sha256,
        same.device_id == Device.id,
        same.state == "queued",
        same.priority == least.scalar_subquery(),
    )
    chosen = func.coalesce(
        cached.order_by(same.id).limit(1).scalar_subquery(),
        head.order_by(first.priority, first.id).limit(1).scalar_subquery(),
    )
    found = select(Device.id.label("device_id"), chosen.label("id")).where(_may_take()).subquery()
    return select(found.c.device_id, found.c.id).where(found.c.id.is_not(None))


def _open_head(*, with_artifact: bool) -> Select[Any]:
    other = aliased(Run)
    had = exists(
        select(other.id).where(
            other.variant_id == Run.variant_id,
            other.device_id == bindparam(DEVICE),
            other.settings_ordinal == Run.settings_ordinal,
        )
    )
    query: Any = select(Run.id, Run.priority, Run.artifact_sha256, Run.created_at).where(
        Run.requirement_sha256 == bindparam(REQUIREMENT), Run.state == "queued", Run.device_id.is_(None), ~had
    )
    if with_artifact:
        query = query.where(Run.artifact_sha256 == bindparam(ARTIFACT))
    head: Select[Any] = query.order_by(Run.priority, Run.id).limit(1).with_for_update(of=Run, skip_locked=True)
    return head


def _lease(which: ColumnElement[bool], **values: Any) -> Any:
    return (
        update(Run)
        .where(which, Run.state == "queued")
        .values(
            state="leased",
            attempt=Run.attempt + 1,
            phase=None,
            lease_expires_at=bindparam(UNTIL, type_=UtcDateTime()),
            started_at=func.coalesce(Run.started_at, _now, type_=UtcDateTime()),
            leased_to=None,
            **values,
        )
        .returning(
            Run.id,
            Run.attempt,
            Run.device_id,
            Run.job_id,
            Run.variant_id,
            Run.comparison_id,
            cast(Run.order, Text).label("order"),
            select(Variant.name).where(Variant.id == Run.variant_id).scalar_subquery().label("variant_name"),
        )
        .execution_options(synchronize_session=False)
    )


WITH_WORK: Final = select(Device.id).where(
    Device.id.in_(bindparam(DEVICES, expanding=True)),
    exists(select(Run.id).where(Run.device_id == Device.id, Run.state == "queued")),
)
"""Those of the devices that queued runs name."""

HEADS: Final = _heads()
"""The next run that names each device: by priority, among equals one whose file the device has, then by age."""

MAY_TAKE: Final = select(Device.id).where(_may_take())
"""Those of the devices that are active, rested and hold no run."""

ONE_RUN: Final = select(Run.id, Run.priority, Run.artifact_sha256).where(Run.id == bindparam(RUN))

OPEN_HEAD: Final = _open_head(with_artifact=False)
"""The next run with a requirement, of a variant that the device has no run of with the same settings."""

OPEN_CACHED: Final = _open_head(with_artifact=True)
"""The next of those whose file the device has."""

LEASE_NAMED: Final = _lease(Run.id.in_(bindparam(RUNS, expanding=True)))
"""Lease runs to the devices that they name."""

LEASE_OPEN: Final = _lease(
    and_(Run.id == bindparam(RUN), Run.device_id.is_(None)), device_id=bindparam(DEVICE, type_=Run.device_id.type)
)
"""Lease a run that names none to the device."""

NOTE_HOLDER: Final = (
    update(Run)
    .where(Run.id == bindparam(RUN))
    .values(leased_to=bindparam(HOLDER))
    .execution_options(synchronize_session=False)
)
"""Remember the agent's start and claim."""
