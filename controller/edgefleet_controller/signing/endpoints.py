"""``/v1/signing-keys`` and ``/agent/v1/signing-keys``."""

from fastapi import APIRouter

from edgefleet_agent.wire.messages import SigningKeys
from edgefleet_controller.audit.recording import append_event
from edgefleet_controller.auth.caller import current_caller
from edgefleet_controller.services import ServicesOf, WriteSession

router = APIRouter(prefix="/v1", tags=["signing"])
agent_router = APIRouter(prefix="/agent/v1", tags=["agent"])


@router.get("/signing-keys")
def list_signing_keys(services: ServicesOf) -> SigningKeys:
    """The public key that orders are signed with, and how it was announced by those before it."""
    return services.signing_keys.public()


@router.post("/signing-keys/rotate")
def rotate_signing_key(session: WriteSession, services: ServicesOf) -> SigningKeys:
    """Sign with a new key from now on; boards learn it from an announcement that the present one signs."""
    keys = services.signing_keys.rotate()
    caller = current_caller()
    if caller is not None:
        append_event(session, caller, {"event": "signing_key_rotated", "key_id": keys.keys[-1].key_id})
    return keys


@agent_router.get("/signing-keys")
def show_signing_keys(services: ServicesOf) -> SigningKeys:
    """The same for a device that meets a key which it does not know."""
    return services.signing_keys.public()
