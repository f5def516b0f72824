"""``/agent/v1/enrol``."""

from fastapi import APIRouter

from edgefleet_agent.wire.messages import EnrolRequest, EnrolResponse
from edgefleet_controller.devices import service
from edgefleet_controller.services import ServicesOf, WriteSession

router = APIRouter(prefix="/agent/v1", tags=["agent"])


@router.post("/enrol")
def enrol(body: EnrolRequest, session: WriteSession, services: ServicesOf) -> EnrolResponse:
    """Exchange a one-time join token for the device's credential."""
    enrolment = service.enrol(session, body, services.tokens)
    services.presence.touch(enrolment.device.id, services.clock.now())
    return EnrolResponse(
        device_id=enrolment.device.id,
        name=enrolment.device.name,
        credential=enrolment.credential,
        heartbeat_s=services.settings.heartbeat_s,
        poll_wait_s=services.settings.poll_wait_s,
    )
