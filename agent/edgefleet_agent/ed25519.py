"""Ed25519 (RFC 8032) in plain Python, for boards without a compiled library.

``cryptography`` and ``PyNaCl`` have no wheels for 32-bit ARM on the public index, and building one takes a Rust or C
toolchain that a board lacks, so the agent does not need them. A verification takes a few milliseconds on a server's core
and some tens on a small board, once a run. Where ``cryptography`` is installed it does the work.

The arithmetic here does not take the same time for all keys. That matters for signing only: the device signs when it
enrols and when its credential is rotated, on its own board, so a listener on the network sees one or two signatures.
The formulas are those of RFC 8032, section 5.1 and appendix A (extended homogeneous coordinates).
"""

import hashlib
import secrets
from typing import Optional

Point = tuple[int, int, int, int]

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL: Point = (0, 1, 1, 0)
KEY_BYTES, SIGNATURE_BYTES = 32, 64


def new_secret_key() -> bytes:
    """A fresh secret key, 32 bytes of the system's random source."""
    return secrets.token_bytes(KEY_BYTES)


def public_key_of(secret_key: bytes) -> bytes:
    """The public key of a secret key, 32 bytes."""
    scalar, _ = _expand(secret_key)
    return _compress(_multiply(scalar, BASE))


def sign(secret_key: bytes, message: bytes) -> bytes:
    """The signature of a message, 64 bytes; always the same for the same key and message."""
    scalar, prefix = _expand(secret_key)
    public = _compress(_multiply(scalar, BASE))
    nonce = _hash_modulo_q(prefix + message)
    commitment = _compress(_multiply(nonce, BASE))
    answer = (nonce + _hash_modulo_q(commitment + public + message) * scalar) % Q
    return commitment + answer.to_bytes(32, "little")


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature of the message was made with the key that belongs to this one."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    key, commitment = _decompress(public_key), _decompress(signature[:32])
    answer = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or answer >= Q:
        return False
    challenge = _hash_modulo_q(signature[:32] + public_key + message)
    return _is_same(_multiply(answer, BASE), _add(commitment, _multiply(challenge, key)))


def _expand(secret_key: bytes) -> "tuple[int, bytes]":
    if len(secret_key) != KEY_BYTES:
        raise ValueError("a secret key has {} bytes, not {}".format(KEY_BYTES, len(secret_key)))
    digest = hashlib.sha512(secret_key).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    return scalar, digest[32:]


def _hash_modulo_q(data: bytes) -> int:
    return int.from_bytes(hashlib.sha512(data).digest(), "little") % Q


def _add(left: Point, right: Point) -> Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % P
    b = (left[1] + left[0]) * (right[1] + right[0]) % P
    c = 2 * left[3] * right[3] * D % P
    d = 2 * left[2] * right[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _multiply(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    while scalar > 0:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _is_same(left: Point, right: Point) -> bool:
    same_x = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % P == 0


def _compress(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | ((x & 1) << 255)).to_bytes(32, "little")


def _decompress(data: bytes) -> Optional[Point]:
    y = int.from_bytes(data, "little")
    sign_bit, y = y >> 255, y & ((1 << 255) - 1)
    x = None if y >= P else _recover_x(y, sign_bit)
    return None if x is None else (x, y, 1, x * y % P)


def _recover_x(y: int, sign_bit: int) -> Optional[int]:
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign_bit else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P != 0:
        return None
    return P - x if (x & 1) != sign_bit else x


def _base_point() -> Point:
    y = 4 * pow(5, P - 2, P) % P
    x = _recover_x(y, 0)
    assert x is not None  # RFC 8032, section 5.1
    return (x, y, 1, x * y % P)


BASE = _base_point()
