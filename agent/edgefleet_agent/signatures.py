"""Signs and verifies with the ``cryptography`` package where the board has it, else in plain Python."""

from typing import Protocol

from edgefleet_agent import ed25519


class Ed25519(Protocol):
    """One implementation of RFC 8032."""

    def public_key_of(self, secret_key: bytes) -> bytes:
        """The public key of a secret key."""
        ...

    def sign(self, secret_key: bytes, message: bytes) -> bytes:
        """The signature of a message."""
        ...

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        ...


class PlainEd25519:
    """In plain Python."""

    def public_key_of(self, secret_key: bytes) -> bytes:
        """The public key of a secret key."""
        return ed25519.public_key_of(secret_key)

    def sign(self, secret_key: bytes, message: bytes) -> bytes:
        """The signature of a message."""
        return ed25519.sign(secret_key, message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        return ed25519.verify(public_key, message, signature)


class CompiledEd25519:
    """By OpenSSL, through ``cryptography``; raises ImportError where that is missing."""

    def __init__(self) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ed25519 as keys

        self._keys, self._invalid = keys, InvalidSignature

    def public_key_of(self, secret_key: bytes) -> bytes:
        """The public key of a secret key."""
        return self._keys.Ed25519PrivateKey.from_private_bytes(secret_key).public_key().public_bytes_raw()

    def sign(self, secret_key: bytes, message: bytes) -> bytes:
        """The signature of a message."""
        return self._keys.Ed25519PrivateKey.from_private_bytes(secret_key).sign(message)

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        try:
            self._keys.Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (self._invalid, ValueError):
            return False
        return True


def best_ed25519() -> Ed25519:
    """The compiled implementation where there is one."""
    try:
        return CompiledEd25519()
    except ImportError:
        return PlainEd25519()
