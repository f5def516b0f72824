"""Reads the audit log and checks its chain."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.audit.recording import FIRST, hash_entry
from edgefleet_controller.audit.schemas import AuditCheck, AuditRequest, AuditView
from edgefleet_controller.db.tables import AuditEntry
from edgefleet_controller.errors import InvalidCursor
from edgefleet_controller.pagination import Page, encode_cursor

AT_ONCE = 1000


def page_of_entries(session: Session, page: AuditRequest) -> Page[AuditView]:
    """Entries, newest first."""
    query = select(AuditEntry)
    if page.object_id is not None:
        query = query.where(AuditEntry.object_id == page.object_id)
    if page.actor is not None:
        query = query.where(AuditEntry.actor == page.actor)
    if page.after is not None:
        query = query.where(AuditEntry.id < _number(page.after))
    rows = list(session.scalars(query.order_by(AuditEntry.id.desc()).limit(page.size + 1)))
    cursor = encode_cursor(str(rows[page.size - 1].id)) if len(rows) > page.size else None
    items = [AuditView.model_validate(row) for row in rows[: page.size]]
    return Page[AuditView](items=items, next_cursor=cursor)


def check_chain(session: Session) -> AuditCheck:
    """Compute every hash again, oldest first."""
    previous, count, broken, last_id = FIRST, 0, None, 0
    while True:
        query = select(AuditEntry).where(AuditEntry.id > last_id).order_by(AuditEntry.id).limit(AT_ONCE)
        entries = list(session.scalars(query))
        for entry in entries:
            is_whole = entry.previous_sha256 == previous and entry.entry_sha256 == hash_entry(entry)
            broken = entry.id if broken is None and not is_whole else broken
            previous = entry.entry_sha256
        count += len(entries)
        if len(entries) < AT_ONCE:
            return AuditCheck(n_entries=count, first_broken=broken, last_sha256=previous)
        last_id = entries[-1].id
        session.expunge_all()


def _number(key: str) -> int:
    if not key.isdigit() or len(key) > 18:
        raise InvalidCursor
    return int(key)
