"""The rows of stored files."""

from datetime import datetime

from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.db.tables import Blob

OCTETS = "application/octet-stream"


def record_blob(session: Session, ref: BlobRef, now: datetime, media_type: str = OCTETS) -> bool:
    """Note that the file is in the store; False if that was known."""
    # two may upload the same file at once: whoever is second finds the row, or merges into it
    if session.get(Blob, ref.sha256) is not None:
        return False
    session.merge(Blob(sha256=ref.sha256, size_bytes=ref.size_bytes, media_type=media_type, created_at=now))
    session.flush()
    return True


def find_blob(session: Session, sha256: str) -> Blob | None:
    """The row of a file."""
    return session.get(Blob, sha256)
