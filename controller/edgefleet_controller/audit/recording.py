"""Writes down who changed what: one hook on the sessions instead of a call in every endpoint.

What a person's request (or an enrolment, or a rotation) adds, changes or deletes becomes an entry in the same
transaction, so that there is no change without its entry. Entries carry hashes of the row before and after, not its
content, and each covers the hash of the entry before it: a changed or missing entry shows.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import inspect, select, text
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import History

from edgefleet_controller.auth.caller import Caller, current_caller
from edgefleet_controller.clock import Clock, SystemClock
from edgefleet_controller.db.tables import (
    AgentRelease,
    ApiToken,
    AuditEntry,
    Base,
    Comparison,
    Device,
    Job,
    JoinToken,
    Membership,
    Model,
    Project,
    Rollout,
    Study,
    User,
    Webhook,
)

JsonObject = dict[str, Any]

FIRST = "0" * 64
"""What the first entry has for the hash of the one before."""

AUDITED: tuple[type[Base], ...] = (
    User,
    Project,
    Membership,
    ApiToken,
    Device,
    JoinToken,
    Model,
    Job,
    Comparison,
    AgentRelease,
    Rollout,
    Webhook,
    Study,
)
AUDITED_DEVICE_ACTIONS = ("POST /agent/v1/enrol", "POST /agent/v1/rotate")
LOCK_KEY = 0x6564_6761
"""Advisory lock of PostgreSQL under which entries are chained; SQLite has one writer anyway."""

_PENDING = "audit"


def note_changes(session: Session, _context: object = None, _instances: object = None) -> None:
    """The hook ``before_flush``: remember each changed row as it was when the transaction first changed it."""
    caller = current_caller()
    if caller is None or not (caller.is_person or caller.action in AUDITED_DEVICE_ACTIONS):
        return
    pending: dict[Base, JsonObject | None] = session.info.setdefault(_PENDING, {})
    for row in [*session.new, *session.dirty, *session.deleted]:
        if isinstance(row, AUDITED) and row not in pending:
            pending[row] = None if row in session.new else _as_it_was(row)


def append_entries(session: Session) -> None:
    """Add the entries of the transaction's changes; called right before it commits."""
    caller = current_caller()
    if caller is None:
        return
    session.flush()
    pending: dict[Base, JsonObject | None] = session.info.pop(_PENDING, {})
    for row, before in pending.items():
        after = None if inspect(row).deleted or inspect(row).detached else _columns(row)
        if before == after:
            continue
        _append(session, caller, _described(row, before or after or {}), before, after)


def append_event(session: Session, caller: Caller, detail: Mapping[str, Any]) -> None:
    """Add an entry about something that changed no row, such as a refused sign-in."""
    _append(session, caller, {"detail": dict(detail)}, None, None)


def hash_entry(entry: AuditEntry) -> str:
    """SHA-256 over all of an entry but its number and its own hash."""
    fields = {name: value for name, value in _columns(entry).items() if name not in ("id", "entry_sha256")}
    return _sha256(fields)


def _append(
    session: Session, caller: Caller, about: JsonObject, before: JsonObject | None, after: JsonObject | None
) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
    previous = session.scalar(select(AuditEntry.entry_sha256).order_by(AuditEntry.id.desc()).limit(1))
    entry = AuditEntry(
        **{"object_kind": None, "object_id": None, "project_id": None, "detail": {}, **about},
        at=_clock_of(session).now(),
        actor_kind=caller.kind,
        actor=caller.name,
        action=caller.action,
        before_sha256=None if before is None else _sha256(before),
        after_sha256=None if after is None else _sha256(after),
        address=caller.address,
        previous_sha256=previous or FIRST,
    )
    entry.entry_sha256 = hash_entry(entry)
    session.add(entry)
    session.flush()


def _clock_of(session: Session) -> Clock:
    clock: Clock = session.info.get("clock") or SystemClock()
    return clock


def _described(row: Base, columns: JsonObject) -> JsonObject:
    key = inspect(type(row)).primary_key
    identifier = "/".join(str(columns.get(column.name)) for column in key)
    return {
        "object_kind": row.__tablename__,
        "object_id": identifier,
        "project_id": columns.get("project_id"),
        "detail": {"name": columns["name"]} if "name" in columns else {},
    }


def _columns(row: Base) -> JsonObject:
    return {attribute.key: getattr(row, attribute.key) for attribute in inspect(type(row)).column_attrs}


def _as_it_was(row: Base) -> JsonObject:
    state = inspect(row)
    found: JsonObject = {}
    for attribute in inspect(type(row)).column_attrs:
        history: History = state.attrs[attribute.key].history
        found[attribute.key] = history.deleted[0] if history.deleted else getattr(row, attribute.key)
    return found


def _sha256(fields: Mapping[str, Any]) -> str:
    document = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_text)
    return hashlib.sha256(document.encode()).hexdigest()


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
