"""The keys that orders are signed with: in a file of their own, readable by its owner only, outside of the database."""

import json
import os
import secrets
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgefleet_agent.wire.messages import SigningKeys
from edgefleet_agent.wire.signing import KeySuccession, PublicKey, Signed, canonical_json, key_id_of

JsonObject = dict[str, Any]
OWNER_ONLY = 0o600


class KeyFileInvalid(Exception):
    """The file of the signing key is damaged or readable by others; the message says what to do."""


class KeyRing:
    """Signs with the newest key and tells how it came from those before it.

    Several processes may share the file: each looks whether it was replaced before it signs.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path, self._now = path, now
        self._lock = threading.Lock()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._create_first()
        self._read_at: tuple[int, int] | None = None
        self._refresh()

    def sign(self, document: JsonObject) -> Signed:
        """The document with the signature of the newest key."""
        self._refresh()
        return _sign(self._secret, self._key_id, document)

    def public(self) -> SigningKeys:
        """The newest key and the announcements that lead to it."""
        self._refresh()
        return self._public

    def rotate(self) -> SigningKeys:
        """Make a new key, announced by the present one, and sign with it from now on."""
        with self._lock:
            stored = self._load()
            secret = Ed25519PrivateKey.generate()
            public = secret.public_key().public_bytes_raw().hex()
            succession = KeySuccession(
                key_id=key_id_of(public),
                public_key=public,
                previous_key_id=str(stored["key_id"]),
                created=self._now().isoformat(),
            )
            present = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(str(stored["secret_key"])))
            signed = _sign(present, str(stored["key_id"]), succession.model_dump())
            self._write(_stored(secret, [*stored["successions"], signed.model_dump()]), replace=True)
        return self.public()

    def _create_first(self) -> None:
        self._write(_stored(Ed25519PrivateKey.generate(), []), replace=False)

    def _refresh(self) -> None:
        facts = self._path.stat()
        marker = (facts.st_ino, facts.st_mtime_ns)
        if marker == self._read_at:
            return
        if facts.st_mode & 0o077:
            raise KeyFileInvalid(f"{self._path} is open to others; make it readable by its owner only: chmod 600")
        stored = self._load()
        self._secret = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(str(stored["secret_key"])))
        self._key_id = str(stored["key_id"])
        public = self._secret.public_key().public_bytes_raw().hex()
        self._public = SigningKeys(
            keys=[PublicKey(key_id=self._key_id, public_key=public)],
            successions=[Signed.model_validate(item) for item in stored["successions"]],
        )
        self._read_at = marker

    def _load(self) -> JsonObject:
        try:
            stored: JsonObject = json.loads(self._path.read_text())
            bytes.fromhex(stored["secret_key"])
            stored["successions"], stored["key_id"]
        except (ValueError, KeyError, TypeError) as err:
            raise KeyFileInvalid(
                f"{self._path} is damaged; restore it from a backup, or enrol the boards anew"
            ) from err
        return stored

    def _write(self, stored: JsonObject, *, replace: bool) -> None:
        """Whole or not at all; two that create at once agree on the first."""
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(stored, file)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                draft.replace(self._path)
            else:
                _link_first(draft, self._path)
        finally:
            draft.unlink(missing_ok=True)


def _link_first(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return


def _stored(secret: Ed25519PrivateKey, successions: list[JsonObject]) -> JsonObject:
    public = secret.public_key().public_bytes_raw().hex()
    return {"key_id": key_id_of(public), "secret_key": secret.private_bytes_raw().hex(), "successions": successions}


def _sign(secret: Ed25519PrivateKey, key_id: str, document: JsonObject) -> Signed:
    payload = canonical_json(document)
    return Signed(key_id=key_id, payload=payload, signature=secret.sign(payload.encode()).hex())
