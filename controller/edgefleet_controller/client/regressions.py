"""Changes that were found in what artifacts measure, and webhooks that are told of them."""

import json
from collections.abc import Iterator

import httpx

from edgefleet_controller.client.connection import ATTEMPTS, Connection
from edgefleet_controller.client.errors import ControllerUnreachable, JsonObject, error_of

SILENCE_S = 30.0
"""The controller says every few seconds that it is still there; after such a silence it is not."""


class RegressionCalls(Connection):
    """Regressions and webhooks."""

    def regressions(
        self, *, device: str | None = None, artifact: str | None = None, is_open: bool | None = None
    ) -> list[JsonObject]:
        """Changes, newest first; of one device (identifier) or artifact, or only those that nobody acknowledged."""
        return list(self._pages("/v1/regressions", {"device": device, "artifact": artifact, "open": is_open}))

    def regression(self, regression_id: str) -> JsonObject:
        """One change."""
        return self._read(f"/v1/regressions/{regression_id}")

    def acknowledge_regression(self, regression_id: str) -> JsonObject:
        """Take note of a change; doing it again changes nothing."""
        return self._send("POST", f"/v1/regressions/{regression_id}/acknowledge", {}, attempts=ATTEMPTS)

    def follow_regressions(self, *, after: str | None = None) -> Iterator[JsonObject]:
        """Each change when it is found, from ``after`` on, else from now on; ends when the controller ends the stream."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after is not None else {})
        timeout = httpx.Timeout(SILENCE_S, connect=5.0)
        try:
            with self._http.stream("GET", "/v1/regression-events", headers=headers, timeout=timeout) as response:
                if response.status_code >= 400:
                    response.read()
                    raise error_of(response)
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        found: JsonObject = json.loads(line.removeprefix("data: "))
                        yield found
        except httpx.TransportError as err:
            raise ControllerUnreachable(self.url, err) from err

    def add_webhook(self, url: str) -> JsonObject:
        """Tell an https:// address of the project's changes; ``secret``, which signs the messages, is shown this once."""
        return self._send("POST", "/v1/webhooks", {"url": url})

    def webhooks(self) -> list[JsonObject]:
        """Webhooks without their secrets, newest first."""
        return list(self._pages("/v1/webhooks"))

    def delete_webhook(self, webhook_id: str) -> None:
        """Tell an address of nothing more."""
        self._request("DELETE", f"/v1/webhooks/{webhook_id}", attempts=1)

    def webhook_deliveries(self, webhook_id: str) -> list[JsonObject]:
        """Messages to a webhook, newest first, with what the last attempt met."""
        return list(self._pages(f"/v1/webhooks/{webhook_id}/deliveries"))
