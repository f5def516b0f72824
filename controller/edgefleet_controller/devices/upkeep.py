"""Keeps devices from runs and gives them back: holds, drains, quarantine, maintenance windows, cool-down, labels."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.auth.caller import current_caller
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import Device
from edgefleet_controller.devices import repository
from edgefleet_controller.devices.schemas import DevicePatch, HoldRequest
from edgefleet_controller.devices.service import etag
from edgefleet_controller.errors import InvalidRequest, NotFound, StateForbids, VersionMismatch

MAY_BECOME: Mapping[str, tuple[str, ...]] = {
    "held": ("active", "held", "draining", "quarantined"),
    "draining": ("active", "draining"),
    "active": ("active", "held", "draining", "quarantined"),
}
"""From which states a person may bring a device into another."""


def hold(session: Session, name_or_id: str, request: HoldRequest, state: str, if_match: str | None) -> Device:
    """Give the device no more runs, as ``held`` or ``draining``; says who, why and until when."""
    device = _find(session, name_or_id, state, if_match)
    if request.until is not None and request.for_s is not None:
        raise InvalidRequest("Say until when, or for how long, not both.")
    until = request.until if request.for_s is None else now_of(session) + timedelta(seconds=request.for_s)
    if until is not None and until <= now_of(session):
        raise InvalidRequest("The hold would end before it begins; give a time in the future, with its zone.")
    caller = current_caller()
    device.held_by = caller.name if caller is not None else "controller"
    device.held_reason, device.held_until = request.reason, until
    return _put(session, device, state)


def release(session: Session, name_or_id: str, if_match: str | None) -> Device:
    """Give the device runs again; its failures are forgotten. Releasing one that takes runs changes nothing."""
    device = _find(session, name_or_id, "active", if_match)
    if device.state == "active":
        return device
    device.held_by = device.held_reason = device.held_until = None
    device.failures = []
    return _put(session, device, "active")


def patch(session: Session, name_or_id: str, request: DevicePatch, if_match: str | None) -> Device:
    """Change what the request names, and leave the rest."""
    device = _find(session, name_or_id, None, if_match)
    for name, value in request.model_dump(mode="json", exclude_unset=True).items():
        if name == "labels":
            merged = {**device.labels, **value}
            device.labels = {key: text for key, text in merged.items() if text is not None}
        else:
            setattr(device, name, value)
    device.version += 1
    session.flush()
    return device


def release_ended_holds(session: Session) -> Sequence[Device]:
    """Release devices whose hold or drain has come to its end; a quarantine has none."""
    ended = select(Device).where(Device.state.in_(("held", "draining")), Device.held_until <= now_of(session))
    devices = list(session.scalars(ended.with_for_update(skip_locked=True)))
    for device in devices:
        device.held_by = device.held_reason = device.held_until = None
        _put(session, device, "active")
    return devices


def next_end_of_hold(session: Session) -> datetime | None:
    """When the next hold ends."""
    query = select(Device.held_until).where(Device.state.in_(("held", "draining")), Device.held_until.is_not(None))
    return session.scalar(query.order_by(Device.held_until).limit(1))


def _find(session: Session, name_or_id: str, new_state: str | None, if_match: str | None) -> Device:
    device = repository.find_locked(session, name_or_id)
    if device is None:
        raise NotFound(f"No device is called {name_or_id!r}; list them with `edgefleet device ls`.")
    if if_match is not None and if_match.strip() not in ("*", etag(device)):
        raise VersionMismatch(f"The device is at version {device.version}, the request was about {if_match}.")
    if new_state is not None and device.state not in MAY_BECOME[new_state]:
        raise StateForbids(f"A device that is {device.state} cannot become {new_state}.")
    return device


def _put(session: Session, device: Device, state: str) -> Device:
    device.state = state
    device.version += 1
    announce(session, "device", device.id)
    session.flush()
    return device
