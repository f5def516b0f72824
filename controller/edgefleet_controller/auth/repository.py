"""Looks up device credentials."""

from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device


def find_device_id(session: Session, credential_sha256: str, now: datetime) -> str | None:
    """The device with this credential, unless it was revoked; one that was rotated counts until its overlap ends."""
    previous = and_(Device.previous_credential_sha256 == credential_sha256, Device.previous_credential_until > now)
    query = select(Device.id).where(or_(Device.credential_sha256 == credential_sha256, previous))
    return session.scalar(query.where(Device.state != "revoked"))
