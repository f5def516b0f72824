"""``/agent/v1/claim``, ``/heartbeat`` and ``/report``."""

from fastapi import APIRouter, Request, Response, status

from edgefleet_agent.wire.base import PROTOCOL_VERSION
from edgefleet_agent.wire.messages import (
    ClaimRequest,
    ClaimResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ReportRequest,
    ReportResponse,
)
from edgefleet_controller.auth.guard import DeviceId
from edgefleet_controller.devices import service as devices
from edgefleet_controller.errors import UpgradeRequired
from edgefleet_controller.problems import problem_response
from edgefleet_controller.runs import service
from edgefleet_controller.runs.long_poll import wait_for_claim
from edgefleet_controller.services import ServicesOf, WriteSession
from edgefleet_controller.settings import Settings

router = APIRouter(prefix="/agent/v1", tags=["agent"])


def lease_rules(settings: Settings) -> service.LeaseRules:
    """The rules of leases by the settings."""
    return service.LeaseRules(settings.lease_s, settings.lease_margin_s, settings.max_attempts)


@router.post("/claim", response_model=ClaimResponse, responses={204: {"description": "nothing to do now"}})
async def claim(body: ClaimRequest, device_id: DeviceId, services: ServicesOf, request: Request) -> Response:
    """Lease the device's next run; held open for up to `wait_s` seconds while there is none."""
    if body.protocol < PROTOCOL_VERSION:
        raise UpgradeRequired(minimum_protocol=PROTOCOL_VERSION)
    found = await wait_for_claim(services, device_id, body, lease_rules(services.settings), request.is_disconnected)
    if found is None or found.must_stop:
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    answer = ClaimResponse(order=found.order, send_facts=found.wants_facts)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post("/heartbeat")
def heartbeat(
    body: HeartbeatRequest, device_id: DeviceId, session: WriteSession, services: ServicesOf
) -> HeartbeatResponse:
    """Extend the lease of a run, over the silent window that begins if one is announced."""
    services.presence.touch(device_id, services.clock.now())
    return service.heartbeat(session, device_id, body, lease_rules(services.settings))


@router.post("/report", response_model=ReportResponse)
def report(
    body: ReportRequest, device_id: DeviceId, session: WriteSession, services: ServicesOf, request: Request
) -> ReportResponse | Response:
    """Hand in the report of a run; may be repeated until it is accepted."""
    services.presence.touch(device_id, services.clock.now())
    completion = service.complete(session, devices.find(session, device_id), body, services.blobs)
    if completion.refusal is not None:
        # answered here, not raised: the run's failure has to be committed
        return problem_response(request, completion.refusal)
    return ReportResponse(accepted=True, duplicate=completion.is_duplicate)
