"""What is signed, by whom, and in which words. Both sides make the same bytes from the same facts.

Documents are canonical JSON (sorted keys, no spaces) and begin with a purpose, so that a signature for one thing is never
one for another. An order's statement says for which device, run and attempt it is and answers the random number of the
device's own claim: it is worth nothing for another claim, so no clock has to be right (a board's may say 1970).
"""

import hashlib
import json
from typing import Any

from pydantic import Field

from edgefleet_agent.wire.base import Wire

ORDER, SUCCESSION = "edgefleet order 1", "edgefleet key succession 1"
ENROL, ROTATE = "edgefleet enrol 1", "edgefleet rotate 1"
HEX_32, HEX_64, HEX_128 = "^[0-9a-f]{32}$", "^[0-9a-f]{64}$", "^[0-9a-f]{128}$"


class PublicKey(Wire):
    """A key that the controller signs with, or did."""

    key_id: str = Field(pattern="^[0-9a-f]{16}$", description="first 16 digits of the SHA-256 of the key")
    public_key: str = Field(pattern=HEX_64, description="ed25519 public key, hexadecimal")


class Signed(Wire):
    """A document with its signature (ed25519, RFC 8032)."""

    key_id: str = Field(pattern="^[0-9a-f]{16}$", description="which key signed")
    payload: str = Field(max_length=4096, description="the document, canonical JSON")
    signature: str = Field(pattern=HEX_128, description="signature of the payload's UTF-8 bytes, hexadecimal")


class OrderStatement(Wire):
    """What the controller signs when it hands out an order."""

    purpose: str = ORDER
    device_id: str
    nonce: str = Field(description="random number of the claim that this answers")
    run_id: str
    attempt: int
    order_sha256: str = Field(description="hash of the whole order in canonical JSON")
    sha256: str = Field(description="hash of the artifact")
    size_bytes: int = Field(description="size of the artifact")
    kind: str = Field(description="measure, ab or aa")
    target: str = Field(description="target that the artifact was compiled for; empty where its manifest names none")
    runtime: str
    created: str = Field(description="the controller's time, for people; the device does not judge by it")
    lease_s: float = Field(description="life of the order from its receipt, seconds")


class KeySuccession(Wire):
    """A key announces the next one."""

    purpose: str = SUCCESSION
    key_id: str
    public_key: str
    previous_key_id: str
    created: str = Field(description="the controller's time, for people")


def canonical_json(document: Any) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def document_sha256(document: Any) -> str:
    """SHA-256 of a document in canonical JSON."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def key_id_of(public_key: str) -> str:
    """The short name of a public key."""
    return hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:16]


def enrol_proof(join_token: str, public_key: str) -> bytes:
    """What a device signs with its new key to enrol; the token is used once, so the signature is too."""
    return _proof(ENROL, token_sha256=hashlib.sha256(join_token.encode()).hexdigest(), public_key=public_key)


def rotate_proof(device_id: str, credential: str) -> bytes:
    """What a device signs to get a new credential in place of this one."""
    return _proof(ROTATE, device_id=device_id, credential_sha256=hashlib.sha256(credential.encode()).hexdigest())


def _proof(purpose: str, **facts: str) -> bytes:
    return canonical_json({"purpose": purpose, **facts}).encode()
