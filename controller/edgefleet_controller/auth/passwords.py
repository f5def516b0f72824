"""Passwords: scrypt with a salt for each; its parameters are stored beside the hash, so that they can be raised."""

import base64
import hashlib
import hmac
import secrets

N, R, P = 2**15, 8, 3
"""Cost of one hash: 32 MiB and about 0.2 s on a server's core. One of the settings that OWASP's Password Storage Cheat
Sheet (2024) calls equal: N=2^15, r=8, p=3."""

MAX_MEMORY_BYTES = 128 * 1024 * 1024
MIN_LENGTH, MAX_LENGTH = 12, 200
"""Characters. NIST SP 800-63B (2024) asks for 8 at least and 64 or more at most, without rules on their kinds."""


def hash_password(password: str) -> str:
    """``scrypt$N$r$p$salt$hash``, in base64."""
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", str(N), str(R), str(P), _encode(salt), _encode(_derive(password, salt, N, R, P))])


def is_password(password: str, stored: str | None) -> bool:
    """Whether this is the password; without a stored one it takes as long and is not."""
    if stored is None:
        _derive(password, bytes(16), N, R, P)
        return False
    _, n, r, p, salt, expected = stored.split("$")
    found = _derive(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(expected))


def _derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=MAX_MEMORY_BYTES, dklen=32)


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
