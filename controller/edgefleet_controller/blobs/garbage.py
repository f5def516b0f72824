"""Collects files that nothing names any more, and raw samples whose retention is over.

A file is removed only when its last upload, and its last new reference, lie longer back than the grace. Both are looked
at again in the transaction that deletes its row: whoever uploads or names it at that instant keeps it.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CursorResult, Update, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql import Delete

from edgefleet_controller.blobs.references import find_references
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Blob
from edgefleet_controller.settings import Settings

LOG = logging.getLogger(__name__)
KEEP_UNFINISHED = timedelta(days=1)
"""Age at which a half-received file is taken for what nobody will go on with."""


@dataclass(frozen=True)
class Rules:
    """When a file may go: so long after its last use, and, for raw samples, so long after their result was stored."""

    grace: timedelta
    sample_retention: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse a grace that would take files away between their upload and their first use."""
        if self.grace <= timedelta(0) or (self.sample_retention or self.grace) <= timedelta(0):
            raise ValueError("grace and sample_retention must be longer than nothing")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Rules":
        """What the settings say."""
        days = settings.sample_retention_days
        return cls(timedelta(seconds=settings.gc_grace_s), timedelta(days=days) if days is not None else None)


@dataclass(frozen=True)
class Amount:
    """A number of files and their length in bytes."""

    n_files: int = 0
    size_bytes: int = 0

    def plus(self, size_bytes: int) -> "Amount":
        """One file more."""
        return Amount(self.n_files + 1, self.size_bytes + size_bytes)


@dataclass(frozen=True)
class Collected:
    """What was removed, or would be."""

    unreferenced: Amount = Amount()
    """nothing names them"""
    expired: Amount = Amount()
    """raw samples past their retention; their rows stay and say so"""
    unrecorded: Amount = Amount()
    """a killed process stored them and did not come to note it"""
    n_unfinished: int = 0
    """half-received files"""
    n_trimmed: int = 0
    """local copies of files that lie elsewhere"""


def collect(database: Database, blobs: BlobStore, rules: Rules, *, dry_run: bool) -> Collected:
    """One round; safe beside uploads, jobs and other rounds, and after a round that was killed."""
    now = database.clock.now()
    collected = _collect_recorded(database, blobs, rules, now, dry_run=dry_run)
    collected = replace(collected, unrecorded=_collect_unrecorded(database, blobs, now - rules.grace, dry_run=dry_run))
    if dry_run:
        return collected
    removed = replace(
        collected, n_unfinished=blobs.remove_unfinished(now - KEEP_UNFINISHED), n_trimmed=blobs.trim_cache()
    )
    if removed != Collected():
        LOG.info("collected garbage: %s", removed)
    return removed


def _collect_recorded(database: Database, blobs: BlobStore, rules: Rules, now: datetime, *, dry_run: bool) -> Collected:
    unused_since = now - rules.grace
    results_before = now - rules.sample_retention if rules.sample_retention is not None else None
    with database.reading() as session:
        old = _unused(session, unused_since)
        references = find_references(session, old, results_before)
    unreferenced, expired = Amount(), Amount()
    for sha256, size_bytes in old.items():
        if sha256 in references.kept:
            continue
        removing = _expiry(now) if sha256 in references.expired else delete(Blob)
        if not dry_run and not _remove(database, blobs, removing, sha256, unused_since):
            continue
        if sha256 in references.expired:
            expired = expired.plus(size_bytes)
        else:
            unreferenced = unreferenced.plus(size_bytes)
    return Collected(unreferenced=unreferenced, expired=expired)


def _unused(session: Session, since: datetime) -> Mapping[str, int]:
    """Length of each file that was there before that moment and was not used after it."""
    query = select(Blob.sha256, Blob.size_bytes).where(_last_use() < since, Blob.expired_at.is_(None))
    return {row.sha256: row.size_bytes for row in session.execute(query)}


def _last_use() -> ColumnElement[datetime]:
    return func.coalesce(Blob.used_at, Blob.created_at)


def _expiry(now: datetime) -> Update:
    return update(Blob).values(expired_at=now)


def _remove(
    database: Database, blobs: BlobStore, removing: Update | Delete, sha256: str, unused_since: datetime
) -> bool:
    """Whether the file was removed; the row is locked from the last look at its use until the bytes are gone."""
    with database.writing() as session:
        try:
            with session.begin_nested() as savepoint:
                statement = removing.where(Blob.sha256 == sha256, _last_use() < unused_since)
                changed = session.execute(statement.execution_options(synchronize_session=False))
                assert isinstance(changed, CursorResult)
                if changed.rowcount == 1 and blobs.remove(sha256, unmodified_since=unused_since):
                    return True
                savepoint.rollback()
        except IntegrityError:  # something refers to it since we looked
            LOG.info("file %s is used again and stays", sha256)
    return False


def _collect_unrecorded(database: Database, blobs: BlobStore, before: datetime, *, dry_run: bool) -> Amount:
    amount = Amount()
    for sha256, size_bytes in _unrecorded(database, blobs, before):
        if dry_run or blobs.remove(sha256, unmodified_since=before):
            amount = amount.plus(size_bytes)
    return amount


def _unrecorded(database: Database, blobs: BlobStore, before: datetime) -> Iterator[tuple[str, int]]:
    old = {item.sha256: item.size_bytes for item in blobs.stored() if item.modified_at < before}
    with database.reading() as session:
        recorded = set(session.scalars(select(Blob.sha256).where(Blob.expired_at.is_(None))))
    return ((sha256, size_bytes) for sha256, size_bytes in old.items() if sha256 not in recorded)
