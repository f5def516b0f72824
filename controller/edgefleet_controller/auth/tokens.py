"""Tokens: 256 random bits behind a prefix that secret scanners know; only their SHA-256 is stored."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path

OPERATOR_PREFIX = "eot_"
DEVICE_PREFIX = "edt_"
JOIN_PREFIX = "ejt_"
SESSION_PREFIX = "ews_"

TokenSource = Callable[[str], str]


def random_token(prefix: str) -> str:
    """A fresh token: the prefix and 256 bits of the system's random source."""
    return prefix + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What is stored of a token. A fast hash is right here: the input has 256 random bits, unlike a password."""
    return hashlib.sha256(token.encode()).hexdigest()


def equal_in_constant_time(left: str, right: str) -> bool:
    """Compare without telling by the time taken how much agrees."""
    return hmac.compare_digest(left.encode(), right.encode())


def load_operator_token(path: Path, tokens: TokenSource = random_token) -> str:
    """The operator token of a data directory; made on first use, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _create_once(path, tokens(OPERATOR_PREFIX))
    return path.read_text().strip()


def _create_once(path: Path, token: str) -> None:
    # two processes may start at once: each writes its own file, the first link wins, nobody reads a half-written one
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
