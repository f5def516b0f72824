"""The artifacts' SQL."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Artifact


def find_by_hash(session: Session, sha256: str) -> Artifact | None:
    """A compiled file by its hash; several compilations may have given the same bytes."""
    return session.scalar(select(Artifact).where(Artifact.sha256 == sha256).limit(1))
