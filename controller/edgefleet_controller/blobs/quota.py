"""How much the store, and each project, may hold. People are refused at a quota; boards have a reserve on top of each, and
keep what does not fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.blobs.errors import ProjectQuotaExceeded, QuotaExceeded
from edgefleet_controller.blobs.repository import ALL_PROJECTS, is_owned, sent_bytes
from edgefleet_controller.blobs.service import project_of_caller
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Blob, Project
from edgefleet_controller.errors import BodyTooLarge


@dataclass(frozen=True)
class Allowance:
    """What the settings let somebody send: the longest file, the store's quota, and what may go beyond any quota."""

    largest_bytes: int
    quota_bytes: int | None
    reserve_bytes: int = 0
    for_device: bool = False


@dataclass(frozen=True)
class UploadLimit:
    """The longest file that may be received now, and which quota that is of, if any."""

    max_bytes: int
    quota: QuotaExceeded | None = None

    def refusal(self) -> BodyTooLarge | QuotaExceeded:
        """What a longer file is answered with; a board keeps its samples and tries again."""
        if self.quota is not None:
            return self.quota
        return BodyTooLarge(f"The file is larger than the {self.max_bytes} bytes allowed; nothing was kept.")


def stored_bytes(session: Session) -> int:
    """Bytes of all files that are there, each counted once."""
    total = select(func.coalesce(func.sum(Blob.size_bytes), 0)).where(Blob.expired_at.is_(None))
    return int(session.execute(total, execution_options=ALL_PROJECTS).scalar_one())


def limit_upload(database: Database, sha256: str, allowance: Allowance) -> UploadLimit:
    """The limit of this upload; QuotaExceeded when there is no room at all. A file that is there needs none."""
    tightest = UploadLimit(allowance.largest_bytes)
    with database.reading() as session:
        for room_bytes, quota in _rooms(session, sha256, allowance):
            if room_bytes < tightest.max_bytes:
                quota.retry = allowance.for_device
                tightest = UploadLimit(max(room_bytes, 0), quota)
    if tightest.max_bytes == 0:
        raise tightest.refusal()
    return tightest


def _rooms(session: Session, sha256: str, allowance: Allowance) -> Iterator[tuple[int, QuotaExceeded]]:
    """Bytes that each quota leaves for the file."""
    if allowance.quota_bytes is not None:
        known = session.get(Blob, sha256, execution_options=ALL_PROJECTS)
        if known is None or known.expired_at is not None:
            yield allowance.quota_bytes + allowance.reserve_bytes - stored_bytes(session), QuotaExceeded()
    project = session.get_one(Project, project_of_caller(session))
    if project.quota_bytes is not None and not is_owned(session, sha256, project.id):
        used = sent_bytes(session, [project.id]).get(project.id, 0)
        yield (
            project.quota_bytes + allowance.reserve_bytes - used,
            ProjectQuotaExceeded(project.name, project.quota_bytes),
        )
