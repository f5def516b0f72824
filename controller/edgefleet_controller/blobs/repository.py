"""The rows of stored files."""

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.scoping import UNSCOPED
from edgefleet_controller.db.tables import Artifact, Blob, BlobOwner, Compression, Job

OCTETS = "application/octet-stream"
ALL_PROJECTS: Mapping[str, Any] = MappingProxyType({UNSCOPED: True})
"""A file is stored once, whichever project sent it first."""


def record_blob(session: Session, ref: BlobRef, now: datetime, media_type: str = OCTETS) -> bool:
    """Note that the file is in the store and was used just now; False if it was there."""
    # two may upload the same file at once: whoever is second finds the row, or inserts nothing
    known = session.get(Blob, ref.sha256, execution_options=ALL_PROJECTS)
    if known is not None:
        was_there = known.expired_at is None
        touch(session, ref.sha256)
        return not was_there
    facts = {"sha256": ref.sha256, "size_bytes": ref.size_bytes, "media_type": media_type, "created_at": now}
    return _insert_once(session, Blob, facts)


def _insert_once(session: Session, table: type[Blob] | type[BlobOwner], values: Mapping[str, Any]) -> bool:
    """Insert a row unless it is there, even if another transaction commits it at the same time; whether it was inserted."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(table.sha256)
    return session.execute(statement, execution_options=ALL_PROJECTS).first() is not None


def touch(session: Session, sha256: str) -> None:
    """Note that the file is used just now: it is not collected as garbage while the thing that uses it is made."""
    used = update(Blob).where(Blob.sha256 == sha256).values(used_at=now_of(session), expired_at=None)
    session.execute(used, execution_options={**ALL_PROJECTS, "synchronize_session": False})


def own_blob(session: Session, sha256: str, project_id: str) -> None:
    """Note that the project has the file, because one of its people or boards sent all of it."""
    _insert_once(session, BlobOwner, {"sha256": sha256, "project_id": project_id})


def is_owned(session: Session, sha256: str, project_id: str) -> bool:
    """Whether one of the project's people or boards sent all of the file."""
    return session.get(BlobOwner, (sha256, project_id), execution_options=ALL_PROJECTS) is not None


def sent_bytes(session: Session, project_ids: Collection[str]) -> dict[str, int]:
    """Bytes of the stored files that each project's people and boards sent; a project without any is left out."""
    query = (
        select(BlobOwner.project_id, func.sum(Blob.size_bytes))
        .join(Blob, Blob.sha256 == BlobOwner.sha256)
        .where(BlobOwner.project_id.in_(project_ids), Blob.expired_at.is_(None))
        .group_by(BlobOwner.project_id)
    )
    return {project_id: int(total) for project_id, total in session.execute(query, execution_options=ALL_PROJECTS)}


def is_readable(session: Session, sha256: str) -> bool:
    """Whether the file belongs to the caller's projects: sent by them, or made for one of their jobs."""
    # all of these are limited to the caller's projects by the session
    made = (
        select(Artifact.key_sha256).where(Artifact.sha256 == sha256),
        select(Job.id).where(Job.evaluation_sha256 == sha256),
        select(Compression.key_sha256).where(Compression.candidate_sha256 == sha256),
    )
    return find_blob(session, sha256) is not None or any(session.scalar(query.limit(1)) is not None for query in made)


def find_blob(session: Session, sha256: str) -> Blob | None:
    """The row of a file."""
    return session.get(Blob, sha256)
