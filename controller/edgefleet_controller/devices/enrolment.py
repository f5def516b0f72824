"""Enrols devices, accepts them, and renews their credentials."""

import re
from dataclasses import dataclass
from datetime import timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.orm import Session

from edgefleet_agent.wire.base import MINIMUM_PROTOCOL
from edgefleet_agent.wire.messages import EnrolRequest, RotateRequest
from edgefleet_agent.wire.signing import enrol_proof, rotate_proof
from edgefleet_controller.auth.tokens import DEVICE_PREFIX, TokenSource, hash_token
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import Device, JoinToken
from edgefleet_controller.devices import repository, service
from edgefleet_controller.devices.errors import (
    DeviceKeyRefused,
    DeviceKindMismatch,
    JoinTokenMismatch,
    JoinTokenRefused,
)
from edgefleet_controller.devices.schemas import NAME_PATTERN
from edgefleet_controller.errors import InvalidRequest, NotFound, StateForbids, UpgradeRequired


@dataclass(frozen=True)
class Enrolment:
    """A device and the credential that only its agent will know."""

    device: Device
    credential: str


def enrol(session: Session, request: EnrolRequest, tokens: TokenSource, *, key_is_required: bool) -> Enrolment:
    """Turn a join token into a device credential; a device enrolled before gets a new one, the old one ends.

    Nothing is used up by a request that is refused.
    """
    if request.protocol < MINIMUM_PROTOCOL:
        raise UpgradeRequired(minimum_protocol=MINIMUM_PROTOCOL)
    _require_own_key(request, key_is_required=key_is_required)
    now = now_of(session)
    token = repository.take_join_token(session, hash_token(request.join_token), now)
    if token is None:
        raise JoinTokenRefused
    _require_meant(token, request)
    device = _device_of_token(session, token, request)
    credential = tokens(DEVICE_PREFIX)
    device.credential_sha256, device.credential_issued_at = hash_token(credential), now
    device.previous_credential_sha256 = device.previous_credential_until = None
    device.public_key = request.public_key
    device.enrolled_at = device.last_seen_at = now
    if device.state in ("registered", "pending"):
        device.state = "active" if token.auto_accept else "pending"
    device.version += 1
    service.store_facts(device, request.facts, facts_sha256=None)
    session.flush()
    return Enrolment(device, credential)


def accept(session: Session, name_or_id: str) -> Device:
    """Let a pending device have runs; repeating it changes nothing."""
    device = repository.find_locked(session, name_or_id)
    if device is None:
        raise NotFound(f"No device is called {name_or_id!r}; list them with `edgefleet device ls`.")
    if device.state not in ("pending", "active"):
        raise StateForbids(f"A device that is {device.state} does not wait to be accepted.")
    if device.state == "pending":
        device.state = "active"
        device.version += 1
    announce(session, "device", device.id)
    session.flush()
    return device


def rotate(
    session: Session, device_id: str, presented: str, request: RotateRequest, tokens: TokenSource, overlap_s: float
) -> str:
    """A new credential for a device that proves to hold its key; the one it presents is accepted for the overlap.

    A device that did not get the answer asks again with the same credential, and the one that it never saw ends.
    """
    device = repository.find_locked(session, device_id)
    if device is None:
        raise NotFound
    if device.public_key is None:
        raise DeviceKeyRefused("The device enrolled without a key; enrol it again with a join token.")
    _verify(device.public_key, rotate_proof(device.id, presented), request.proof)
    now, credential = now_of(session), tokens(DEVICE_PREFIX)
    if device.credential_sha256 == hash_token(presented):
        device.previous_credential_sha256 = device.credential_sha256
        device.previous_credential_until = now + timedelta(seconds=overlap_s)
    device.credential_sha256, device.credential_issued_at = hash_token(credential), now
    device.version += 1
    session.flush()
    return credential


def _require_own_key(request: EnrolRequest, *, key_is_required: bool) -> None:
    if request.public_key is None:
        if key_is_required:
            raise DeviceKeyRefused("The device sent no key; install a newer edgefleet-agent on it.")
        return
    if request.key_proof is None:
        raise DeviceKeyRefused("The device sent a key without the proof that it holds it.")
    _verify(request.public_key, enrol_proof(request.join_token, request.public_key), request.key_proof)


def _verify(public_key: str, statement: bytes, signature: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), statement)
    except (InvalidSignature, ValueError) as err:
        raise DeviceKeyRefused("The device's signature is not that of its key.") from err


def _require_meant(token: JoinToken, request: EnrolRequest) -> None:
    if token.board not in (None, request.facts.board):
        raise JoinTokenMismatch(f"The join token is for a {token.board}, and this board is a {request.facts.board}.")
    if token.serial not in (None, request.serial):
        raise JoinTokenMismatch("The join token is for a board with another serial number.")


def _device_of_token(session: Session, token: JoinToken, request: EnrolRequest) -> Device:
    if token.device_id is None:
        return _new_device(session, token, request)
    bound = repository.find_locked(session, token.device_id)
    if bound is None or bound.state == "revoked":
        raise JoinTokenRefused("The device of this join token was revoked.")
    if request.device_kind not in (None, bound.kind):
        raise DeviceKindMismatch(
            f"Device {bound.name} is registered as {bound.kind} and its agent says {request.device_kind}: every report "
            "would be refused. Register a device of that kind, or start the agent that belongs to this one."
        )
    return bound


def _new_device(session: Session, token: JoinToken, request: EnrolRequest) -> Device:
    name = request.name or request.facts.hostname
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise InvalidRequest(f"{name[:64]!r} cannot be a device's name: it must match {NAME_PATTERN}.")
    # what the token says of the board counts more than what the board says of itself
    labels = request.facts.labels | token.labels
    device = service.new_device(session, name, request.facts.board, request.device_kind or "physical", labels)
    device.project_id, device.created_by = token.project_id, token.created_by
    service.insert(session, device)
    return device
