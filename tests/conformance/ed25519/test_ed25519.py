"""Both implementations of ed25519 against the vectors of RFC 8032, section 7.1, and against each other."""

import pytest

from edgefleet_agent.ed25519 import Q
from edgefleet_agent.signatures import CompiledEd25519, Ed25519, PlainEd25519

VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""secret key, public key, message, signature"""


@pytest.fixture(params=[PlainEd25519, CompiledEd25519])
def backend(request: pytest.FixtureRequest) -> Ed25519:
    made: Ed25519 = request.param()
    return made


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(backend: Ed25519, secret: str, public: str, message: str, signature: str) -> None:
    key, text = bytes.fromhex(secret), bytes.fromhex(message)
    assert backend.public_key_of(key).hex() == public
    assert backend.sign(key, text).hex() == signature
    assert backend.verify(bytes.fromhex(public), text, bytes.fromhex(signature))


def test_one_signs_what_the_other_verifies() -> None:
    secret, plain, compiled = bytes(range(32)), PlainEd25519(), CompiledEd25519()
    message = b"a statement" * 100
    assert plain.sign(secret, message) == compiled.sign(secret, message)
    assert plain.verify(compiled.public_key_of(secret), message, compiled.sign(secret, message))


def test_anything_else_is_refused(backend: Ed25519) -> None:
    _, public, message, signature = (bytes.fromhex(part) for part in VECTORS[2])
    assert not backend.verify(public, message + b"x", signature)
    assert not backend.verify(public, message, bytes([signature[0] ^ 1]) + signature[1:])
    assert not backend.verify(public, message, signature[:63])
    assert not backend.verify(public[:31], message, signature)
    assert not backend.verify(bytes.fromhex(VECTORS[0][1]), message, signature)
    assert not backend.verify(b"\xff" * 32, message, signature)


def test_a_signature_has_one_form_only(backend: Ed25519) -> None:
    # RFC 8032, 5.1.7: S is below the order of the group; otherwise S + L would verify as well
    _, public, message, signature = (bytes.fromhex(part) for part in VECTORS[2])
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + Q).to_bytes(32, "little")
    assert not backend.verify(public, message, other)
