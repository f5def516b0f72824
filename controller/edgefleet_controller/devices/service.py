"""Registers, enrols, holds and revokes devices."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from edgefleet_agent.wire.base import MINIMUM_PROTOCOL
from edgefleet_agent.wire.messages import DeviceFacts, EnrolRequest
from edgefleet_controller.auth.tokens import DEVICE_PREFIX, JOIN_PREFIX, TokenSource, hash_token
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Device, JoinToken
from edgefleet_controller.devices import repository
from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.devices.schemas import (
    NAME_PATTERN,
    DeviceCreate,
    DeviceView,
    JoinTokenCreate,
    JoinTokenView,
    PresenceState,
)
from edgefleet_controller.errors import (
    DeviceKindMismatch,
    InvalidRequest,
    JoinTokenRefused,
    NameTaken,
    NoDevices,
    NotFound,
    StateForbids,
    UnknownDeviceNamed,
    UpgradeRequired,
    VersionMismatch,
)


@dataclass(frozen=True)
class Enrolment:
    """A device and the credential that only its agent will know."""

    device: Device
    credential: str


def register(session: Session, request: DeviceCreate) -> Device:
    """A new device that waits for its agent; NameTaken if the name is in use."""
    device = _new_device(session, request.name, request.board, request.kind, request.labels)
    _insert(session, device)
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
        expires_at=now + timedelta(seconds=request.ttl_s or default_ttl_s),
        created_at=now,
    )
    repository.add(session, row)
    return JoinTokenView(join_token=token, expires_at=row.expires_at)


def enrol(session: Session, request: EnrolRequest, tokens: TokenSource) -> Enrolment:
    """Turn a join token into a device credential; a device enrolled before gets a new one, the old one ends."""
    if request.protocol < MINIMUM_PROTOCOL:
        raise UpgradeRequired(minimum_protocol=MINIMUM_PROTOCOL)
    now = now_of(session)
    token = repository.take_join_token(session, hash_token(request.join_token), now)
    if token is None:
        raise JoinTokenRefused
    device = _device_of_token(session, token, request)
    credential = tokens(DEVICE_PREFIX)
    device.credential_sha256 = hash_token(credential)
    device.enrolled_at = device.last_seen_at = now
    if device.state == "registered":
        device.state = "active"
    device.version += 1
    store_facts(device, request.facts, facts_sha256=None)
    session.flush()
    return Enrolment(device, credential)


def _device_of_token(session: Session, token: JoinToken, request: EnrolRequest) -> Device:
    if token.device_id is None:
        name = request.name or request.facts.hostname
        if re.fullmatch(NAME_PATTERN, name) is None:
            raise InvalidRequest(f"{name[:64]!r} cannot be a device's name: it must match {NAME_PATTERN}.")
        kind = request.device_kind or "physical"
        device = _new_device(session, name, request.facts.board, kind, token.labels | request.facts.labels)
        device.project_id, device.created_by = token.project_id, token.created_by
        _insert(session, device)
        return device
    bound = repository.find_locked(session, token.device_id)
    if bound is None or bound.state == "revoked":
        raise JoinTokenRefused("The device of this join token was revoked.")
    if request.device_kind not in (None, bound.kind):
        raise DeviceKindMismatch(
            f"Device {bound.name} is registered as {bound.kind} and its agent says {request.device_kind}: every report "
            "would be refused. Register a device of that kind, or start the agent that belongs to this one."
        )
    return bound


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


def choose(session: Session, names_or_ids: Sequence[str] | None) -> list[Device]:
    """The devices a job asks for, or all active ones; revoked and unknown ones are refused."""
    if names_or_ids is None:
        chosen = repository.active_devices(session)
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


_TRANSITIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "hold": (("active", "held"), "held"),
    "release": (("active", "held"), "active"),
    "revoke": (("registered", "active", "held", "revoked"), "revoked"),
}


def change_state(session: Session, name_or_id: str, action: str, if_match: str | None) -> Device:
    """Hold, release or revoke; repeating it changes nothing. ``if_match`` guards against a change in between."""
    device = repository.find_locked(session, name_or_id)
    if device is None:
        raise NotFound(f"No device is called {name_or_id!r}; list them with `edgefleet device ls`.")
    if if_match is not None and if_match.strip() not in ("*", etag(device)):
        raise VersionMismatch(f"The device is at version {device.version}, the request was about {if_match}.")
    allowed, new_state = _TRANSITIONS[action]
    if device.state not in allowed:
        raise StateForbids(f"A device that is {device.state} cannot be changed by {action}.")
    if device.state != new_state:
        device.state = new_state
        device.version += 1
    if new_state == "revoked":
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


def _new_device(session: Session, name: str, board: str, kind: str, labels: Mapping[str, str]) -> Device:
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


def _insert(session: Session, device: Device) -> None:
    if repository.is_name_taken(session, device.name):
        raise NameTaken(f"A device is called {device.name!r} already; choose another name.")
    try:
        repository.add(session, device)
    except IntegrityError as err:  # two at once, both saw the name free
        raise NameTaken(f"A device is called {device.name!r} already; choose another name.") from err
