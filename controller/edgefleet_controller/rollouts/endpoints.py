"""``/v1/agent-releases``, ``/v1/rollouts`` and ``/agent/v1/update``."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from edgefleet_agent.wire.signing import HEX_32
from edgefleet_agent.wire.updates import UpdateOffer, UpdateOutcome
from edgefleet_controller.auth.guard import DeviceId
from edgefleet_controller.db.tables import AgentRelease
from edgefleet_controller.errors import NotFound
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.rollouts import repository, service
from edgefleet_controller.rollouts.schemas import ReleaseCreate, ReleaseView, RolloutCreate, RolloutDetail, RolloutView
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession
from edgefleet_controller.signing.orders import sign_update

router = APIRouter(prefix="/v1", tags=["rollouts"])
agent_router = APIRouter(prefix="/agent/v1", tags=["agent"])
Nonce = Annotated[str, Query(pattern=HEX_32, description="random number that the signature answers, hexadecimal")]


@router.post("/agent-releases", status_code=status.HTTP_201_CREATED)
def create_agent_release(
    body: ReleaseCreate, session: WriteSession, services: ServicesOf, response: Response
) -> ReleaseView:
    """Register an uploaded wheel of the agent; 200 if it was registered before."""
    release, is_new = service.add_release(session, body, services.blobs)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return ReleaseView.model_validate(release)


@router.post("/rollouts", status_code=status.HTTP_201_CREATED)
def start_rollout(
    body: RolloutCreate, session: WriteSession, services: ServicesOf, response: Response
) -> RolloutDetail:
    """Bring a release to boards: to some of them first, to the others once those have checked in with it."""
    rollout = service.start(session, body, services.presence, services.settings.presence_timeout_s)
    response.headers["Location"] = f"/v1/rollouts/{rollout.id}"
    return service.detail(session, rollout)


@router.get("/rollouts")
def list_rollouts(page: PageQuery, session: ReadSession) -> Page[RolloutView]:
    """Rollouts, newest first."""
    rows, cursor = repository.page_of_rollouts(session, page)
    return Page[RolloutView](items=[service.view(session, row) for row in rows], next_cursor=cursor)


@router.get("/rollouts/{rollout_id}")
def show_rollout(rollout_id: str, session: ReadSession) -> RolloutDetail:
    """One rollout with its boards."""
    rollout = repository.find(session, rollout_id)
    if rollout is None:
        raise NotFound
    return service.detail(session, rollout)


@router.post("/rollouts/{rollout_id}/cancel")
def cancel_rollout(rollout_id: str, session: WriteSession) -> RolloutDetail:
    """Offer the release to no further board; one that took the offer already goes on."""
    return service.detail(session, service.cancel(session, rollout_id))


@agent_router.get("/update", response_model=UpdateOffer)
def take_update(nonce: Nonce, device_id: DeviceId, session: WriteSession, services: ServicesOf) -> UpdateOffer:
    """The version that the device is to install now, signed; 404 if there is none."""
    rollout, release = service.take_offer(session, device_id)
    return _offer(rollout.id, release, services, device_id, nonce)


def _offer(rollout_id: str, release: AgentRelease, services: ServicesOf, device_id: str, nonce: str) -> UpdateOffer:
    size_bytes = services.blobs.path(release.wheel_sha256).stat().st_size
    fields = {
        "rollout_id": rollout_id,
        "version": release.version,
        "sha256": release.wheel_sha256,
        "size_bytes": size_bytes,
    }
    now = services.clock.now()
    signature = sign_update(services.signing_keys, fields, device_id=device_id, nonce=nonce, now=now)
    return UpdateOffer.model_validate({**fields, "signature": signature.model_dump()})


@agent_router.post("/update", status_code=status.HTTP_204_NO_CONTENT)
def report_update(body: UpdateOutcome, device_id: DeviceId, session: WriteSession, services: ServicesOf) -> None:
    """Say that the version was not taken, or did not check in and was dropped. That it runs is seen at its first claim."""
    service.take_outcome(session, device_id, body)
    services.desk.offers.end(device_id)
