"""Every change of a device that a claim's answer may depend on announces itself, whoever makes it.

Listens to the rows instead of asking each place that changes a device to remember it. Statements without rows
(``last_seen_at`` in bulk, the bookkeeping after a run) announce what they change themselves.
"""

from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, object_session

from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import Device

QUIET = frozenset({"last_seen_at", "changed_at"})
"""Columns whose change concerns nobody else."""


@event.listens_for(Device, "before_insert")
@event.listens_for(Device, "before_update")
def _announce_device(_mapper: Any, _connection: Any, device: Device) -> None:
    session = object_session(device)
    if session is None or not _is_changed(session, device):
        return
    device.changed_at = now_of(session)
    announce(session, "device_changed", device.id)


def _is_changed(session: Session, device: Device) -> bool:
    state = inspect(device)
    if device in session.new:
        return True
    return any(state.attrs[name].history.has_changes() for name in set(state.attrs.keys()) - QUIET)
