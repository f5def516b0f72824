"""``/agent/v1/enrol`` and ``/agent/v1/rotate``."""

from fastapi import APIRouter, Request

from edgefleet_agent.wire.messages import EnrolRequest, EnrolResponse, RotateRequest, RotateResponse
from edgefleet_controller.auth.guard import DeviceId
from edgefleet_controller.devices import enrolment
from edgefleet_controller.devices.errors import JoinTokenRefused
from edgefleet_controller.services import ServicesOf, WriteSession

router = APIRouter(prefix="/agent/v1", tags=["agent"])


@router.post("/enrol", response_model_exclude_unset=True)
def enrol(body: EnrolRequest, services: ServicesOf, request: Request) -> EnrolResponse:
    """Exchange a one-time join token for the device's credential."""
    address = f"address {request.client.host if request.client is not None else 'unknown'}"
    services.rate_limits.refusals.require(address)
    try:
        with services.database.writing() as session:
            done = enrolment.enrol(session, body, services.tokens, key_is_required=services.settings.require_device_key)
            answer = EnrolResponse(
                device_id=done.device.id,
                name=done.device.name,
                credential=done.credential,
                heartbeat_s=services.settings.heartbeat_s,
                poll_wait_s=services.settings.poll_wait_s,
            )
            pending = done.device.state == "pending"
    except JoinTokenRefused:
        services.rate_limits.refusals.charge(address)
        raise
    services.presence.touch(answer.device_id, services.clock.now())
    if body.public_key is None:  # an agent of protocol 1 would refuse what it does not know
        return answer
    keys = services.signing_keys.public().keys
    return EnrolResponse(**answer.model_dump(exclude_unset=True), pending=pending, signing_keys=keys)


@router.post("/rotate")
def rotate(
    body: RotateRequest, device_id: DeviceId, session: WriteSession, services: ServicesOf, request: Request
) -> RotateResponse:
    """Get a new credential; the present one is accepted for a while, so that a lost answer locks nobody out."""
    presented = request.headers["Authorization"].partition(" ")[2].strip()
    overlap_s = services.settings.credential_overlap_s
    credential = enrolment.rotate(session, device_id, presented, body, services.tokens, overlap_s)
    return RotateResponse(credential=credential, overlap_s=overlap_s)
