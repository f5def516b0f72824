"""The devices' and join tokens' SQL."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device, JoinToken
from edgefleet_controller.pagination import PageRequest, fetch_page


def add(session: Session, row: Device | JoinToken) -> None:
    """Insert the row now, so that a violated constraint shows here."""
    session.add(row)
    session.flush()


def find(session: Session, name_or_id: str) -> Device | None:
    """The device with this name or identifier."""
    return session.scalar(select(Device).where(or_(Device.id == name_or_id, Device.name == name_or_id)))


def find_locked(session: Session, name_or_id: str) -> Device | None:
    """The same, locked until the end of the transaction."""
    query = select(Device).where(or_(Device.id == name_or_id, Device.name == name_or_id)).with_for_update()
    return session.scalar(query)


def is_name_taken(session: Session, name: str) -> bool:
    """Whether a device has this name."""
    return session.scalar(select(Device.id).where(Device.name == name)) is not None


def page_of_devices(session: Session, page: PageRequest) -> tuple[list[Device], str | None]:
    """Boards, newest first; what only stands for devices of other tools is none."""
    return fetch_page(session, select(Device).where(Device.kind != "imported"), Device.id, page)


def active_devices(session: Session) -> list[Device]:
    """Devices that may be given work, oldest first."""
    return list(session.scalars(select(Device).where(Device.state == "active").order_by(Device.id)))


def devices_by_id(session: Session, device_ids: Collection[str]) -> dict[str, Device]:
    """The devices with these identifiers."""
    rows = session.scalars(select(Device).where(Device.id.in_(device_ids)))
    return {device.id: device for device in rows}


def take_join_token(session: Session, token_sha256: str, now: datetime) -> JoinToken | None:
    """Use the token up; None if it is unknown, used or expired."""
    statement = (
        update(JoinToken)
        .where(JoinToken.token_sha256 == token_sha256, JoinToken.used_at.is_(None), JoinToken.expires_at > now)
        .values(used_at=now)
        .returning(JoinToken)
    )
    return session.scalar(statement)


def store_sightings(session: Session, seen: Mapping[str, datetime]) -> None:
    """Write the times at which devices were last heard of."""
    if seen:
        rows = [{"id": device_id, "last_seen_at": seen_at} for device_id, seen_at in seen.items()]
        session.execute(update(Device), rows)
