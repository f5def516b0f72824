"""Registers, enrols, holds and revokes devices."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from edgefleet_agent.wire.messages import DeviceFacts
from edgefleet_controller.auth.tokens import JOIN_PREFIX, TokenSource, hash_token
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Device, JoinToken
from edgefleet_controller.devices import repository
from edgefleet_controller.devices.errors import NoDevices, UnknownDeviceNamed
from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.devices.schemas import (
    DeviceCreate,
    DeviceView,
    JoinTokenCreate,
    JoinTokenView,
    PresenceState,
)
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.dispatch.roster import card_of
from edgefleet_controller.errors import NameTaken, NotFound, StateForbids, VersionMismatch


def register(session: Session, request: DeviceCreate) -> Device:
    """A new device that waits for its agent; NameTaken if the name is in use."""
    device = new_device(session, request.name, request.board, request.kind, request.labels)
    insert(session, device)
    return device


def mint_join_token(
    session: Session, request: JoinTokenCreate, tokens: TokenSource, default_ttl_s: float
) -> JoinTokenView:
    """A one-time token, bound to a device or free; its hash is stored."""
    device = find(session, request.device) if request.device is not None else None
    if device is not None and device.state == "revoked":
        raise StateForbids(f"Device {device.name} was revoked; register it under a new name.")
    token, now = tokens(JOIN_PREFIX), now_of(session)
    row = JoinToken(
        id=new_id("jtk"),
        token_sha256=hash_token(token),
        device_id=device.id if device is not None else None,
        labels=request.labels,
        board=request.board,
        serial=request.serial,
        auto_accept=request.auto_accept,
        expires_at=now + timedelta(seconds=request.ttl_s or default_ttl_s),
        created_at=now,
    )
    if device is not None:
        row.project_id = device.project_id
    repository.add(session, row)
    return JoinTokenView(join_token=token, expires_at=row.expires_at)


def store_facts(device: Device, facts: DeviceFacts, *, facts_sha256: str | None) -> None:
    """Keep what the agent found on its board."""
    device.facts = facts.model_dump(mode="json")
    device.facts_sha256 = facts_sha256
    device.agent_version = facts.agent_version


def find(session: Session, name_or_id: str) -> Device:
    """The device with this name or identifier; NotFound if there is none."""
    device = repository.find(session, name_or_id)
    if device is None:
        raise NotFound(f"No device is called {name_or_id!r}; list them with `edgefleet device ls`.")
    return device


def choose(
    session: Session,
    names_or_ids: Sequence[str] | None,
    requirement: Requirement | None = None,
    n_wanted: int | None = None,
) -> list[Device]:
    """The devices a job asks for, or all active ones that meet the requirement; revoked and unknown ones are refused.

    NoDevices if there is none, or fewer than ``n_wanted``.
    """
    if names_or_ids is None:
        active = repository.active_devices(session)
        chosen = [one for one in active if requirement is None or requirement.is_met_by(card_of(one))]
        if requirement is not None and len(chosen) < (n_wanted or 1):
            lacking = {one.name: requirement.why_not(card_of(one)) for one in active[:5] if one not in chosen}
            said = "; ".join(f"{name} {why}" for name, why in lacking.items())
            raise NoDevices(
                f"{len(chosen)} of {len(active)} active devices meet the requirement: {said or 'no other'}."
            )
    else:
        chosen = list({device.id: device for device in (_choose_one(session, name) for name in names_or_ids)}.values())
    if not chosen:
        raise NoDevices
    return chosen


def _choose_one(session: Session, name_or_id: str) -> Device:
    device = repository.find(session, name_or_id)
    if device is None:
        raise UnknownDeviceNamed(f"No device is called {name_or_id!r}; list them with `edgefleet device ls`.")
    if device.state == "revoked":
        raise UnknownDeviceNamed(f"Device {name_or_id!r} was revoked; choose another.")
    return device


def revoke(session: Session, name_or_id: str, if_match: str | None) -> Device:
    """End the device's credential for good; repeating it changes nothing. ``if_match`` guards against a change in between."""
    device = repository.find_locked(session, name_or_id)
    if device is None:
        raise NotFound(f"No device is called {name_or_id!r}; list them with `edgefleet device ls`.")
    if if_match is not None and if_match.strip() not in ("*", etag(device)):
        raise VersionMismatch(f"The device is at version {device.version}, the request was about {if_match}.")
    if device.state != "revoked":
        device.state = "revoked"
        device.version += 1
    device.credential_sha256 = None
    announce(session, "device", device.id)
    session.flush()
    return device


def etag(device: Device) -> str:
    """The entity tag of a device's present version."""
    return f'"{device.version}"'


def view(session: Session, device: Device, presence: Presence, timeout_s: float) -> DeviceView:
    """The device as the API shows it."""
    sighting = presence.get(device.id)
    times = [seen for seen in (device.last_seen_at, sighting.seen_at if sighting else None) if seen is not None]
    last_seen_at = max(times, default=None)
    state: PresenceState = "never"
    if last_seen_at is not None:
        is_online = now_of(session) - last_seen_at <= timedelta(seconds=timeout_s)
        state = "offline" if not is_online else "draining" if sighting and sighting.is_draining else "online"
    computed = {"presence": state, "online": state in ("online", "draining"), "last_seen_at": last_seen_at}
    columns = {name: getattr(device, name) for name in DeviceView.model_fields if name not in computed}
    return DeviceView.model_validate(columns | computed)


def new_device(session: Session, name: str, board: str, kind: str, labels: Mapping[str, str]) -> Device:
    """A row for a board that nobody has enrolled yet."""
    return Device(
        id=new_id("dev"),
        name=name,
        board=board,
        kind=kind,
        state="registered",
        labels=dict(labels),
        created_at=now_of(session),
        version=1,
    )


def insert(session: Session, device: Device) -> None:
    """Store a new device; NameTaken if its name is in use."""
    if repository.is_name_taken(session, device.name):
        raise NameTaken(f"A device is called {device.name!r} already; choose another name.")
    try:
        repository.add(session, device)
    except IntegrityError as err:  # two at once, both saw the name free
        raise NameTaken(f"A device is called {device.name!r} already; choose another name.") from err
