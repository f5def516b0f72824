"""``/agent/v1/claim``, ``/heartbeat`` and ``/report``."""

import json
import random
from datetime import timedelta

from fastapi import APIRouter, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from edgefleet_agent.wire.base import MINIMUM_PROTOCOL
from edgefleet_agent.wire.messages import (
    ClaimRequest,
    ClaimResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ReportRequest,
    ReportResponse,
)
from edgefleet_agent.wire.updates import OFFER_HEADER
from edgefleet_controller.auth.agent_route import AgentRoute
from edgefleet_controller.auth.guard import DeviceId
from edgefleet_controller.errors import NotFound, UpgradeRequired
from edgefleet_controller.problems import problem_response
from edgefleet_controller.runs.leasing import Leased
from edgefleet_controller.runs.long_poll import wait_for_claim
from edgefleet_controller.runs.reporting import Handed, Unchecked, check_report
from edgefleet_controller.services import Services, ServicesOf
from edgefleet_controller.signing.orders import sign_order

router = APIRouter(prefix="/agent/v1", tags=["agent"], route_class=AgentRoute)
JSON = "application/json"
SIGNING_PROTOCOL = 2
"""The first version whose agents name a number in each claim and check what is signed for it."""
UNSIGNED_REFUSED = (
    "This controller hands out signed orders only, which the agent is too old to check; install a newer agent."
)
COME_BACK_S = (5, 30)
"""Between these many seconds a refused claim is told to come back, at random: not all agents at once."""


@router.post("/claim", response_model=ClaimResponse, responses={204: {"description": "nothing to do now"}})
async def claim(body: ClaimRequest, device_id: DeviceId, services: ServicesOf, request: Request) -> Response:
    """Lease the device's next run; held open for up to `wait_s` seconds while there is none."""
    if body.protocol < MINIMUM_PROTOCOL:
        raise UpgradeRequired(minimum_protocol=MINIMUM_PROTOCOL)
    if services.settings.require_device_key and body.nonce is None and not body.draining:
        raise UpgradeRequired(UNSIGNED_REFUSED, minimum_protocol=SIGNING_PROTOCOL)
    found = await wait_for_claim(services, device_id, body, request.is_disconnected)
    desk = services.desk
    headers = {OFFER_HEADER: "1"} if desk.offers.is_due(desk.roster.get(device_id)) else {}
    if found.leased is not None:
        return Response(_order_json(found.leased, body.nonce, services), media_type=JSON, headers=headers)
    if found.wants_facts:
        return Response(b'{"order":null,"send_facts":true}', media_type=JSON)
    if found.is_busy:
        headers["Retry-After"] = str(random.randint(*COME_BACK_S))
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers=headers)


def _order_json(leased: Leased, nonce: str | None, services: Services) -> bytes:
    """A ClaimResponse with an order. The order was checked when it was queued and is passed on as it is stored."""
    own = json.dumps({"run_id": leased.run_id, "attempt": leased.attempt, "lease_s": services.settings.lease_s})
    order = f"{own[:-1]},{leased.order.lstrip()[1:]}"
    if nonce is None:  # an agent of protocol 1 cannot check signatures
        return f'{{"order":{order},"send_facts":false}}'.encode()
    signature = sign_order(
        services.signing_keys, json.loads(order), device_id=leased.device_id, nonce=nonce, now=services.clock.now()
    ).model_dump_json()
    rotate = "true" if _is_old(services, leased.device_id) else "false"
    return f'{{"order":{order},"send_facts":false,"signature":{signature},"rotate_credential":{rotate}}}'.encode()


def _is_old(services: Services, device_id: str) -> bool:
    card = services.desk.roster.get(device_id)
    since = card.renewable_since if card is not None else None
    return since is not None and services.clock.now() - since >= timedelta(seconds=services.settings.credential_life_s)


@router.post("/heartbeat", response_model=HeartbeatResponse)
async def heartbeat(body: HeartbeatRequest, device_id: DeviceId, services: ServicesOf, _request: Request) -> Response:
    """Extend the lease of a run, over the silent window that begins if one is announced."""
    services.presence.touch(device_id, services.clock.now())
    heartbeats = services.desk.heartbeats
    answer = heartbeats.answer_from_memory(device_id, body)
    if answer is None:
        answer = await run_in_threadpool(heartbeats.answer_from_store, device_id, body)
    cancel = "true" if answer.cancel else "false"
    return Response(f'{{"cancel":{cancel},"lease_s":{answer.lease_s}}}', media_type=JSON)


@router.post("/report", response_model=ReportResponse)
async def report(body: ReportRequest, device_id: DeviceId, services: ServicesOf, request: Request) -> Response:
    """Hand in the report of a run; may be repeated until it is accepted."""
    services.presence.touch(device_id, services.clock.now())
    card = services.desk.roster.get(device_id)
    if card is None:
        raise NotFound
    handed: Unchecked | Handed
    came = handed = Unchecked(card, body)
    if not (came.is_small and services.blobs.is_local):
        handed = await run_in_threadpool(check_report, card, body, services.blobs)
    completion = await services.desk.report(handed)
    if completion.refusal is not None:
        # answered here, not raised: the run's failure has been committed
        return problem_response(request, completion.refusal)
    duplicate = "true" if completion.is_duplicate else "false"
    return Response(f'{{"accepted":true,"duplicate":{duplicate}}}', media_type=JSON)
