"""One connection to a controller: what is sent again, and what never is.

Reads, uploads and requests with an idempotency key are repeated after a lost connection and after 429, 502, 503 and
504; anything else is sent once, since its first try may have been carried out.
"""

import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from edgefleet_controller.client.errors import ClientError, ControllerUnreachable, JsonObject, error_of

ATTEMPTS = 5
BACKOFF_S = 0.3
AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""
LONGEST_PAUSE_S = 60.0
"""Most of a ``Retry-After`` that is waited for."""


class Connection:
    """A connection to one controller; usable as a context manager."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        project: str | None = None,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """``project``: where to work, for those who have several; ``ca_file``: the only authority to trust, PEM."""
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}", **({"X-Edgefleet-Project": project} if project else {})},
            verify=ssl.create_default_context(cafile=ca_file) if ca_file is not None else True,
            timeout=httpx.Timeout(60.0, connect=5.0),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> JsonObject:
        """Whether the controller is up."""
        return self._read("/healthz", attempts=1)

    def readiness(self) -> JsonObject:
        """Whether store, schema and engine are ready; ClientError with the reason otherwise."""
        return self._read("/readyz", attempts=1)

    def metrics(self) -> str:
        """The controller's metrics in Prometheus' text format."""
        return self._request("GET", "/metrics", attempts=ATTEMPTS).text

    def _pages(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[JsonObject]:
        parameters = _known(query)
        while True:
            page = self._read(path, parameters)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            parameters["cursor"] = page["next_cursor"]

    def _read(
        self, path: str, query: Mapping[str, Any] | None = None, *, timeout: float = 60.0, attempts: int = ATTEMPTS
    ) -> JsonObject:
        response = self._request("GET", path, params=_known(query), timeout=timeout, attempts=attempts)
        return _json_object(response)

    def _send(self, method: str, path: str, body: JsonObject, *, attempts: int = 1, **options: Any) -> JsonObject:
        return _json_object(self._request(method, path, json=body, attempts=attempts, **options))

    def _create_once(self, path: str, body: JsonObject) -> JsonObject:
        """Send a request that makes something with a key of its own, so that a repetition makes nothing more."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self._send("POST", path, body, headers=headers, attempts=ATTEMPTS)

    def _request(
        self,
        method: str,
        path: str,
        *,
        attempts: int,
        make_content: Callable[[], Iterator[bytes]] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send, and send again after a lost connection or an answer that asks for it, up to ``attempts`` times."""
        for attempt in range(1, attempts + 1):
            if make_content is not None:
                options["content"] = make_content()
            pause_s = BACKOFF_S * 2 ** (attempt - 1)
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as err:
                if attempt == attempts:
                    raise ControllerUnreachable(self.url, err) from err
            else:
                if response.status_code < 400:
                    return response
                if not _is_worth_repeating(response) or attempt == attempts:
                    raise error_of(response)
                pause_s = max(pause_s, _asked_pause_s(response))
            time.sleep(pause_s)
        raise AssertionError("attempts must be at least 1")


def _known(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _is_worth_repeating(response: httpx.Response) -> bool:
    """A key whose first request is still being answered (409) is asked for again, like a server that is busy."""
    if response.status_code in AGAIN:
        return True
    return response.status_code == 409 and error_of(response).code == "idempotency_in_progress"


def _asked_pause_s(response: httpx.Response) -> float:
    """Seconds of ``Retry-After``; 0 without one, or with a date, which clocks that differ make worthless."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_PAUSE_S) if text.isdecimal() else 0.0


def _json_object(response: httpx.Response) -> JsonObject:
    try:
        parsed = response.json()
    except ValueError as err:
        raise ClientError(
            "not_a_controller", f"{response.url} did not answer with JSON; is this a controller?"
        ) from err
    if not isinstance(parsed, dict):
        raise ClientError("not_a_controller", f"{response.url} answered with a {type(parsed).__name__}")
    return parsed
