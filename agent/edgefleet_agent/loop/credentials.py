"""Enrols with a key of this board's own, renews the credential, and checks who signed an order."""

import logging
import secrets
from pathlib import Path
from typing import Optional

from edgefleet_agent.client import ControllerClient
from edgefleet_agent.errors import ControllerError, MeasurementFailed, RequestRefused
from edgefleet_agent.loop.identity import Identity, save_identity
from edgefleet_agent.loop.trust import Asked, Trust, Verifier, load_trust, new_trust, save_trust
from edgefleet_agent.signatures import best_ed25519
from edgefleet_agent.wire.messages import ClaimResponse, EnrolRequest, EnrolResponse, RotateRequest
from edgefleet_agent.wire.report import CodedError
from edgefleet_agent.wire.signing import PublicKey, Signed, enrol_proof, rotate_proof
from edgefleet_agent.wire.updates import UpdateOffer

log = logging.getLogger(__name__)


class Credentials:
    """The keys of one board, from its state folder."""

    def __init__(self, state_directory: Path) -> None:
        self._state_directory = state_directory
        self._ed25519 = best_ed25519()
        self._trust = load_trust(state_directory)
        self._has_asked = False

    def prove(self, request: EnrolRequest) -> EnrolRequest:
        """The request with this board's public key, made now, and the proof that the board holds it."""
        self._trust = new_trust()
        secret = bytes.fromhex(self._trust.secret_key)
        public_key = self._ed25519.public_key_of(secret).hex()
        proof = self._ed25519.sign(secret, enrol_proof(request.join_token, public_key)).hex()
        return request.model_copy(update={"public_key": public_key, "key_proof": proof})

    def enrolled(self, response: EnrolResponse) -> None:
        """Keep the key and trust the controller's, from now on."""
        assert self._trust is not None, "prove comes first"
        self._keep(self._trust.model_copy(update={"keys": list(response.signing_keys)}))
        if response.pending:
            log.warning("%s waits until a person accepts it: edgefleet device accept %s", response.name, response.name)

    def new_nonce(self) -> str:
        """The random number of the next claim."""
        return secrets.token_hex(16)

    def refusal(self, response: ClaimResponse, asked: Asked, client: ControllerClient) -> Optional[CodedError]:
        """Why the order must not be carried out; None where it may.

        A board that enrolled before orders were signed trusts the keys that the controller names when it is first asked.
        """
        assert response.order is not None
        verifier = self._verifier(response.signature, client)
        if not verifier.keys and response.signature is None:
            return None  # an old controller, and this board trusts no key yet: there is nothing to check
        try:
            verifier.require(response.order, response.signature, asked)
        except MeasurementFailed as failure:
            return failure.error
        return None

    def require_update(self, offer: UpdateOffer, asked: Asked, client: ControllerClient) -> None:
        """Raise UpdateFailed unless the controller that this board trusts signed the offer for it; unsigned ones never pass."""
        self._verifier(offer.signature, client).require_update(offer, asked)

    def _verifier(self, signature: Optional[Signed], client: ControllerClient) -> Verifier:
        keys = self._trust.keys if self._trust is not None else []
        verifier = Verifier(tuple(keys or self._first_keys(client)), self._ed25519)
        return verifier if verifier.knows(signature) else self._follow(verifier, client)

    def renew(self, identity: Identity, client: ControllerClient) -> Optional[Identity]:
        """The identity with a new credential; None if that did not work now, the old one is still good."""
        if self._trust is None:
            return None
        enrolment = identity.enrolment
        statement = rotate_proof(enrolment.device_id, enrolment.credential)
        proof = self._ed25519.sign(bytes.fromhex(self._trust.secret_key), statement).hex()
        try:
            response = client.rotate(RotateRequest(proof=proof))
        except ControllerError as err:
            log.warning("the credential could not be renewed and stays: %s", err)
            return None
        renewed = enrolment.model_copy(update={"credential": response.credential})
        found = identity.model_copy(update={"enrolment": renewed})
        save_identity(self._state_directory, found)
        log.info("the credential was renewed; the old one ends in %g s", response.overlap_s)
        return found

    def _follow(self, verifier: Verifier, client: ControllerClient) -> Verifier:
        try:
            followed = verifier.followed(client.signing_keys())
        except RequestRefused as err:
            log.warning("the controller does not say how its new key was announced: %s", err)
            return verifier
        self._trust_only(followed.keys)
        return followed

    def _first_keys(self, client: ControllerClient) -> "list[PublicKey]":
        if self._has_asked:
            return []
        self._has_asked = True
        try:
            keys = client.signing_keys().keys
        except RequestRefused as err:
            log.warning("this controller signs no orders: %s", err)
            return []
        log.warning("trusting the controller's signing key %s from now on", keys[-1].key_id)
        self._trust_only(tuple(keys))
        return list(keys)

    def _trust_only(self, keys: "tuple[PublicKey, ...]") -> None:
        self._keep((self._trust or new_trust()).model_copy(update={"keys": list(keys)}))

    def _keep(self, trust: Trust) -> None:
        self._trust = trust
        save_trust(self._state_directory, trust)
