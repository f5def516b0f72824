"""What may be wrong with a webhook.

InvalidRequest
└── WebhookRefused               422 webhook_refused
"""

from edgefleet_controller.errors import InvalidRequest


class WebhookRefused(InvalidRequest):
    """A webhook is an https:// address with a public host and no name or password in it."""

    code = "webhook_refused"
