"""Looks up device credentials."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device


def find_device_id(session: Session, credential_sha256: str) -> str | None:
    """The device with this credential, unless it was revoked."""
    query = select(Device.id).where(Device.credential_sha256 == credential_sha256, Device.state != "revoked")
    return session.scalar(query)
