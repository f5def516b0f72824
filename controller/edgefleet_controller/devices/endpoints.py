"""``/v1/devices`` and ``/v1/join-tokens``."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response, status

from edgefleet_controller.db.tables import Device
from edgefleet_controller.devices import enrolment, repository, service, upkeep
from edgefleet_controller.devices.schemas import (
    DeviceCreate,
    DeviceCreated,
    DevicePatch,
    DeviceView,
    HoldRequest,
    JoinTokenCreate,
    JoinTokenView,
)
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.runs import service as runs
from edgefleet_controller.services import ReadSession, Services, ServicesOf, WriteSession

router = APIRouter(prefix="/v1", tags=["devices"])
IfMatch = Annotated[str | None, Header(description="ETag of the version the change is meant for; 412 if it is another")]


def _view(session: Any, services: Services, device: Device) -> DeviceView:
    return service.view(session, device, services.presence, services.settings.presence_timeout_s)


@router.post("/devices", status_code=status.HTTP_201_CREATED)
def create_device(body: DeviceCreate, session: WriteSession, services: ServicesOf, response: Response) -> DeviceCreated:
    """Register a board and mint the one-time token that enrols its agent."""
    device = service.register(session, body)
    token = service.mint_join_token(
        session, JoinTokenCreate(device=device.id), services.tokens, services.settings.join_token_ttl_s
    )
    response.headers["Location"] = f"/v1/devices/{device.id}"
    response.headers["ETag"] = service.etag(device)
    shown = _view(session, services, device).model_dump()
    return DeviceCreated(**shown, join_token=token.join_token, join_token_expires_at=token.expires_at)


@router.get("/devices")
def list_devices(page: PageQuery, session: ReadSession, services: ServicesOf) -> Page[DeviceView]:
    """Boards, newest first."""
    rows, cursor = repository.page_of_devices(session, page)
    return Page[DeviceView](items=[_view(session, services, row) for row in rows], next_cursor=cursor)


@router.get("/devices/{device_id}")
def show_device(device_id: str, session: ReadSession, services: ServicesOf, response: Response) -> DeviceView:
    """One board, by identifier or name."""
    device = service.find(session, device_id)
    response.headers["ETag"] = service.etag(device)
    return _view(session, services, device)


@router.post("/devices/{device_id}/accept")
def accept_device(device_id: str, session: WriteSession, services: ServicesOf, response: Response) -> DeviceView:
    """Let a board that waits to be accepted have runs."""
    device = enrolment.accept(session, device_id)
    response.headers["ETag"] = service.etag(device)
    return _view(session, services, device)


@router.patch("/devices/{device_id}")
def patch_device(
    device_id: str,
    body: DevicePatch,
    session: WriteSession,
    services: ServicesOf,
    response: Response,
    if_match: IfMatch = None,
) -> DeviceView:
    """Change labels, cool-down, maintenance windows, or whether the board is reserved."""
    return _shown(upkeep.patch(session, device_id, body, if_match), session, services, response)


@router.post("/devices/{device_id}/hold")
def hold_device(
    device_id: str,
    session: WriteSession,
    services: ServicesOf,
    response: Response,
    body: HoldRequest | None = None,
    if_match: IfMatch = None,
) -> DeviceView:
    """Take the board: it is given no more runs; one that it holds is finished."""
    held = upkeep.hold(session, device_id, body or HoldRequest(), "held", if_match)
    return _shown(held, session, services, response)


@router.post("/devices/{device_id}/drain")
def drain_device(
    device_id: str,
    session: WriteSession,
    services: ServicesOf,
    response: Response,
    body: HoldRequest | None = None,
    if_match: IfMatch = None,
) -> DeviceView:
    """Let the board run dry before it is switched off: like a hold, but nobody takes it."""
    draining = upkeep.hold(session, device_id, body or HoldRequest(), "draining", if_match)
    return _shown(draining, session, services, response)


@router.post("/devices/{device_id}/release")
def release_device(
    device_id: str, session: WriteSession, services: ServicesOf, response: Response, if_match: IfMatch = None
) -> DeviceView:
    """Give a held, draining or quarantined board runs again."""
    return _shown(upkeep.release(session, device_id, if_match), session, services, response)


@router.post("/devices/{device_id}/revoke")
def revoke_device(
    device_id: str, session: WriteSession, services: ServicesOf, response: Response, if_match: IfMatch = None
) -> DeviceView:
    """End the board's credential for good; its next request is refused and its queued runs fail."""
    revoked = service.revoke(session, device_id, if_match)
    runs.withdraw_revoked(session)
    return _shown(revoked, session, services, response)


def _shown(device: Device, session: Any, services: Services, response: Response) -> DeviceView:
    response.headers["ETag"] = service.etag(device)
    return _view(session, services, device)


@router.post("/join-tokens", status_code=status.HTTP_201_CREATED)
def create_join_token(body: JoinTokenCreate, session: WriteSession, services: ServicesOf) -> JoinTokenView:
    """Mint a one-time token for a registered board, or for one that will name itself."""
    return service.mint_join_token(session, body, services.tokens, services.settings.join_token_ttl_s)
