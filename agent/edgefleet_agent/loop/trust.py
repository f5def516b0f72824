"""What this board trusts and proves: the controller's signing keys, and the board's own key.

Kept in ``trust.json`` beside the identity, readable by its owner only; an older agent, after a roll-back, ignores it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_agent.ed25519 import new_secret_key
from edgefleet_agent.errors import MeasurementFailed, SettingsInvalid, UpdateFailed
from edgefleet_agent.signatures import Ed25519
from edgefleet_agent.wire.messages import RunOrder, SigningKeys
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.signing import (
    ORDER,
    SUCCESSION,
    KeySuccession,
    OrderStatement,
    PublicKey,
    Signed,
    document_sha256,
    key_id_of,
)
from edgefleet_agent.wire.updates import UPDATE, UpdateOffer, UpdateStatement

TRUST_FILE = "trust.json"
OWNER_ONLY = 0o600


class Trust(BaseModel):
    """The board's own secret key, and the keys that it takes orders from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_key: str = Field(pattern="^[0-9a-f]{64}$", repr=False)
    keys: list[PublicKey] = Field(default_factory=list)


def new_trust() -> Trust:
    """A fresh key, made on this board, and nobody trusted yet."""
    return Trust(secret_key=new_secret_key().hex())


def load_trust(state_directory: Path) -> Optional[Trust]:
    """What was stored; None before the first enrolment with a key. Raises SettingsInvalid when the file is damaged."""
    path = state_directory / TRUST_FILE
    try:
        return Trust.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as err:
        # the error may quote the file, and with it the key
        raise SettingsInvalid("{} is unreadable; remove it and enrol again".format(path)) from err


def save_trust(state_directory: Path, trust: Trust) -> None:
    """Store it durably and readable by its owner only."""
    path = state_directory / TRUST_FILE
    draft = path.with_suffix(".unfinished")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(trust.model_dump_json())
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(path)


class Asked(NamedTuple):
    """What a claim said: who asked, and the random number that the answer has to repeat."""

    device_id: str
    nonce: str


@dataclass(frozen=True)
class Verifier:
    """Checks orders against the keys that this board trusts."""

    keys: "tuple[PublicKey, ...]"
    ed25519: Ed25519

    def knows(self, signed: Optional[Signed]) -> bool:
        """Whether it trusts the key that signed; an unsigned order needs none."""
        return signed is None or self._key(signed.key_id) is not None

    def require(self, order: RunOrder, signed: Optional[Signed], asked: Asked) -> None:
        """Raise MeasurementFailed unless a trusted key signed this very order in answer to this very claim."""
        if signed is None:
            raise MeasurementFailed(ErrorCode.ORDER_UNSIGNED, "the controller did not sign the order")
        statement = self._statement(signed)
        if statement.nonce != asked.nonce:
            raise MeasurementFailed(ErrorCode.ORDER_NOT_FRESH, "the order's signature answers another claim")
        about = (statement.device_id, statement.run_id, statement.attempt, statement.sha256, statement.size_bytes)
        received = order.model_dump(mode="json", exclude_unset=True)
        meant = (asked.device_id, order.run_id, order.attempt, order.artifact.sha256, order.artifact.size_bytes)
        if about != meant or statement.order_sha256 != document_sha256(received):
            raise MeasurementFailed(
                ErrorCode.ORDER_SIGNATURE_INVALID, "the order is not the one that the controller signed"
            )

    def require_update(self, offer: UpdateOffer, asked: Asked) -> None:
        """Raise UpdateFailed unless a trusted key signed this very offer in answer to this very request."""
        signed = offer.signature
        key = self._key(signed.key_id) if signed is not None else None
        if signed is None or key is None or not self._is_signed(signed, key):
            raise UpdateFailed("no key that this board trusts has signed the offer of version " + offer.version)
        try:
            said = UpdateStatement.model_validate_json(signed.payload)
        except ValidationError as err:
            raise UpdateFailed("what was signed is no offer of a version") from err
        if said.purpose != UPDATE or (said.device_id, said.nonce) != (asked.device_id, asked.nonce):
            raise UpdateFailed("the signature of version {} answers another request".format(offer.version))
        signed_offer = (said.rollout_id, said.version, said.sha256, said.size_bytes)
        if signed_offer != (offer.rollout_id, offer.version, offer.sha256, offer.size_bytes):
            raise UpdateFailed("the offer is not the one that the controller signed")

    def followed(self, announced: SigningKeys) -> "Verifier":
        """A verifier that trusts what its keys announced, and only the newest of that."""
        trusted = {key.key_id: key for key in self.keys}
        newest: Iterable[PublicKey] = self.keys
        for signed in announced.successions:
            successor = self._successor(signed, trusted)
            if successor is not None:
                trusted[successor.key_id] = successor
                newest = (successor,)
        return Verifier(tuple(newest), self.ed25519)

    def _statement(self, signed: Signed) -> OrderStatement:
        key = self._key(signed.key_id)
        if key is None:
            raise MeasurementFailed(
                ErrorCode.SIGNING_KEY_UNKNOWN,
                "the order is signed with the key {}, which none that this board trusts has announced".format(
                    signed.key_id
                ),
            )
        if self._is_signed(signed, key):
            try:
                statement = OrderStatement.model_validate_json(signed.payload)
            except ValidationError:
                statement = None
            if statement is not None and statement.purpose == ORDER:
                return statement
        raise MeasurementFailed(ErrorCode.ORDER_SIGNATURE_INVALID, "the order's signature is wrong")

    def _successor(self, signed: Signed, trusted: "dict[str, PublicKey]") -> Optional[PublicKey]:
        key = trusted.get(signed.key_id)
        if key is None or not self._is_signed(signed, key):
            return None
        try:
            found = KeySuccession.model_validate_json(signed.payload)
            successor = PublicKey(key_id=found.key_id, public_key=found.public_key)
        except ValidationError:
            return None
        is_meant = found.purpose == SUCCESSION and found.previous_key_id == signed.key_id
        return successor if is_meant and key_id_of(found.public_key) == found.key_id else None

    def _is_signed(self, signed: Signed, key: PublicKey) -> bool:
        message, signature = signed.payload.encode(), bytes.fromhex(signed.signature)
        return self.ed25519.verify(bytes.fromhex(key.public_key), message, signature)

    def _key(self, key_id: str) -> Optional[PublicKey]:
        return next((key for key in self.keys if key.key_id == key_id and key_id_of(key.public_key) == key_id), None)
