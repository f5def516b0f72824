"""``/v1/regressions`` and ``/v1/webhooks``."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, status
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from edgefleet_controller.auth.guard import PrincipalOf
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Regression, Webhook, WebhookDelivery
from edgefleet_controller.errors import InvalidRequest, NotFound
from edgefleet_controller.pagination import Page, PageQuery, fetch_page
from edgefleet_controller.regressions import repository
from edgefleet_controller.regressions.events import stream_regressions
from edgefleet_controller.regressions.schemas import (
    DeliveryView,
    RegressionPageRequest,
    RegressionView,
    WebhookCreate,
    WebhookCreated,
    WebhookView,
)
from edgefleet_controller.regressions.sending import check_address
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession

router = APIRouter(prefix="/v1", tags=["regressions"])
LastEventId = Annotated[
    str | None, Header(max_length=64, pattern="^reg_[0-9A-Z]+$", description="go on after this event, as browsers do")
]


@router.get("/regressions")
def list_regressions(page: Annotated[RegressionPageRequest, Query()], session: ReadSession) -> Page[RegressionView]:
    """Changes that were found in what artifacts measure, newest first."""
    rows, cursor = repository.page_of_regressions(
        session, page, device_id=page.device, artifact_sha256=page.artifact, is_open=page.open
    )
    return Page[RegressionView](items=[RegressionView.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/regression-events", response_class=StreamingResponse)
async def stream_found_regressions(
    services: ServicesOf, request: Request, last_event_id: LastEventId = None
) -> StreamingResponse:
    """A stream of server-sent events, one for each change when it is found."""
    if "text/event-stream" not in request.headers.get("Accept", ""):
        raise InvalidRequest("This address is a stream of events; ask for it with Accept: text/event-stream.")
    events = stream_regressions(services, request, last_event_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


@router.get("/regressions/{regression_id}")
def show_regression(regression_id: str, session: ReadSession) -> RegressionView:
    """One change."""
    return RegressionView.model_validate(_find(session, regression_id))


@router.post("/regressions/{regression_id}/acknowledge")
def acknowledge_regression(regression_id: str, session: WriteSession, principal: PrincipalOf) -> RegressionView:
    """Take note of a change, so that it is no longer among the open ones; doing it again changes nothing."""
    row = _find(session, regression_id)
    if row.acknowledged_at is None:
        row.acknowledged_at, row.acknowledged_by = now_of(session), principal.name
    return RegressionView.model_validate(row)


def _find(session: ReadSession, regression_id: str) -> Regression:
    row = repository.find(session, regression_id)
    if row is None:
        raise NotFound(f"There is no regression {regression_id!r}; list them with `edgefleet regression ls`.")
    return row


@router.post("/webhooks", status_code=status.HTTP_201_CREATED)
def create_webhook(body: WebhookCreate, session: WriteSession) -> WebhookCreated:
    """Tell an address of the project's changes from now on; the secret that signs the messages is shown this once."""
    check_address(body.url)
    row = Webhook(id=new_id("whk"), url=body.url, secret=f"whs_{secrets.token_urlsafe(32)}", created_at=now_of(session))
    session.add(row)
    session.flush()
    return WebhookCreated.model_validate(row, from_attributes=True)


@router.get("/webhooks")
def list_webhooks(page: PageQuery, session: ReadSession) -> Page[WebhookView]:
    """Webhooks without their secrets, newest first."""
    rows, cursor = fetch_page(session, select(Webhook), Webhook.id, page)
    return Page[WebhookView](items=[WebhookView.model_validate(row) for row in rows], next_cursor=cursor)


@router.delete("/webhooks/{webhook_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete_webhook(webhook_id: str, session: WriteSession) -> None:
    """Tell an address of nothing more; messages that wait for it are dropped."""
    session.delete(_find_webhook(session, webhook_id))


@router.get("/webhooks/{webhook_id}/deliveries")
def list_deliveries(webhook_id: str, page: PageQuery, session: ReadSession) -> Page[DeliveryView]:
    """Messages to a webhook, newest first, with what the last attempt met."""
    _find_webhook(session, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    rows, cursor = fetch_page(session, query, WebhookDelivery.id, page)
    return Page[DeliveryView](items=[DeliveryView.model_validate(row) for row in rows], next_cursor=cursor)


def _find_webhook(session: ReadSession, webhook_id: str) -> Webhook:
    row = session.scalars(select(Webhook).where(Webhook.id == webhook_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook {webhook_id!r}; list them with `edgefleet webhook ls`.")
    return row
