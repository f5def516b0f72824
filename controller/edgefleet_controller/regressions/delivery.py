"""Tells webhooks of changes: at least once each, with growing pauses after a failure, until it is given up."""

import json
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from edgefleet_controller.db.tables import Regression, Webhook, WebhookDelivery
from edgefleet_controller.regressions.schemas import RegressionView
from edgefleet_controller.regressions.sending import HttpsSender, NotDelivered, Sender, sign
from edgefleet_controller.services import Services

LOG = logging.getLogger(__name__)
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 720))
"""After the first, second, ... failure; after the last one the message is given up."""
IN_HAND = timedelta(minutes=2)
"""How long a message is left alone that a process has begun to send."""
BATCH = 20


@dataclass(frozen=True)
class _Message:
    """What is sent; read before the network is touched, so that no transaction waits for it."""

    delivery_id: str
    url: str
    secret: str
    body: bytes


def next_due(services: Services) -> datetime | None:
    """When the next message is to be sent; None while none waits."""
    with services.database.reading() as session:
        return session.scalar(select(func.min(WebhookDelivery.due_at)).where(WebhookDelivery.state == "queued"))


def deliver_due(services: Services, sender: Sender | None = None) -> int:
    """Send the messages that are due; returns how many were taken. No transaction is open while one is sent."""
    now = services.clock.now()
    messages = _take(services, now)
    with_sender = sender or HttpsSender()
    return sum(_send(services, with_sender, message) for message in messages)


def _take(services: Services, now: datetime) -> list[_Message]:
    """The due messages, left alone by others from now on for a while."""
    with services.database.writing() as session:
        query = (
            select(WebhookDelivery, Webhook, Regression)
            .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
            .join(Regression, Regression.id == WebhookDelivery.regression_id)
            .where(WebhookDelivery.state == "queued", WebhookDelivery.due_at <= now)
            .order_by(WebhookDelivery.due_at)
            .limit(BATCH)
            .with_for_update(of=WebhookDelivery, skip_locked=True)
        )
        taken = []
        for delivery, webhook, regression in session.execute(query):
            delivery.attempts += 1
            delivery.due_at = now + IN_HAND
            taken.append(_Message(delivery.id, webhook.url, webhook.secret, message_of(delivery.id, regression)))
        return taken


def message_of(delivery_id: str, regression: Regression) -> bytes:
    """The body: what happened, as the API shows it."""
    view = RegressionView.model_validate(regression).model_dump(mode="json")
    return json.dumps({"event": "regression_found", "delivery": delivery_id, "regression": view}).encode()


def _send(services: Services, sender: Sender, message: _Message) -> bool:
    at_s = int(services.clock.now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "edgefleet-webhook/1",
        "X-Edgefleet-Delivery": message.delivery_id,
        "X-Edgefleet-Signature": sign(message.secret, at_s, message.body),
    }
    failure = None
    try:
        sender.send(message.url, message.body, headers)
    except NotDelivered as err:
        failure = str(err)
        LOG.warning("webhook message %s was not taken: %s", message.delivery_id, failure)
    _settle(services, message.delivery_id, failure)
    return failure is None


def _settle(services: Services, delivery_id: str, failure: str | None) -> None:
    with services.database.writing() as session:
        delivery = session.get(WebhookDelivery, delivery_id)
        if delivery is None:  # its webhook was deleted meanwhile
            return
        now = services.clock.now()
        delivery.message = failure
        if failure is None:
            delivery.state, delivery.ended_at = "delivered", now
        elif delivery.attempts > len(PAUSES):
            delivery.state, delivery.ended_at = "failed", now
        else:
            delivery.due_at = now + PAUSES[delivery.attempts - 1]
