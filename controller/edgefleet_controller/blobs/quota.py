"""How much the store may hold. People are refused at the quota; boards have a reserve on top, and keep what does not fit."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.blobs.errors import QuotaExceeded
from edgefleet_controller.blobs.repository import ALL_PROJECTS
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Blob
from edgefleet_controller.errors import BodyTooLarge


@dataclass(frozen=True)
class UploadLimit:
    """The longest file that may be received now, and whether that is because the store is nearly full."""

    max_bytes: int
    is_quota: bool = False
    for_device: bool = False

    def refusal(self) -> BodyTooLarge | QuotaExceeded:
        """What a longer file is answered with; a board keeps its samples and tries again."""
        if not self.is_quota:
            return BodyTooLarge(f"The file is larger than the {self.max_bytes} bytes allowed; nothing was kept.")
        refused = QuotaExceeded()
        refused.retry = self.for_device
        return refused


def stored_bytes(session: Session) -> int:
    """Bytes of all files that are there, each counted once."""
    total = select(func.coalesce(func.sum(Blob.size_bytes), 0)).where(Blob.expired_at.is_(None))
    return int(session.execute(total, execution_options=ALL_PROJECTS).scalar_one())


def limit_upload(
    database: Database, sha256: str, *, largest: int, quota_bytes: int | None, for_device: bool
) -> UploadLimit:
    """The limit of this upload; QuotaExceeded when there is no room at all. A file that is there needs none."""
    if quota_bytes is None:
        return UploadLimit(largest)
    with database.reading() as session:
        known = session.get(Blob, sha256, execution_options=ALL_PROJECTS)
        room = quota_bytes - stored_bytes(session)
    if known is not None and known.expired_at is None:
        return UploadLimit(largest)
    limit = UploadLimit(min(largest, max(room, 0)), is_quota=room < largest, for_device=for_device)
    if room <= 0:
        raise limit.refusal()
    return limit
