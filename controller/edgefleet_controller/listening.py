"""How the API listens: on loopback, with TLS of its own, or behind a proxy that has it. Never in the open without either."""

import ssl
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgefleet_controller.errors import NotThroughProxy
from edgefleet_controller.problems import problem_response
from edgefleet_controller.settings import Settings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HSTS = b"max-age=31536000"
API_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
"""What every answer carries that does not say otherwise: pages have a policy of their own (web.rendering)."""


class ListeningRefused(Exception):
    """The settings would put the API in the open; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def require_safe_listening(settings: Settings) -> None:
    """ListeningRefused for a public address without TLS or a proxy, or a certificate that cannot be used."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise ListeningRefused("tls_incomplete", "--tls-cert and --tls-key belong together: give both or neither")
    if settings.tls_cert is not None and settings.tls_key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
        except (OSError, ssl.SSLError) as err:
            raise ListeningRefused("tls_unusable", f"{settings.tls_cert} and {settings.tls_key}: {err}") from err
    for proxy in settings.proxies:
        try:
            ip_address(proxy)
        except ValueError:
            raise ListeningRefused("proxy_invalid", f"--behind-proxy {proxy!r} is not an IP address") from None
    is_safe = settings.host in LOOPBACK or settings.tls_cert is not None or settings.proxies
    if not is_safe:
        raise ListeningRefused(
            "public_address_refused",
            f"{settings.host} is not a loopback address: give --tls-cert and --tls-key, or --behind-proxy ADDRESS of "
            "the TLS proxy before it",
        )


def server_options(settings: Settings) -> dict[str, Any]:
    """Options of uvicorn. Its own proxy handling stays off: it trusts every process on the host. It logs as we do, so that
    no secret gets into a line by its handlers.
    """
    options: dict[str, Any] = {"proxy_headers": False, "server_header": False, "log_config": None}
    if settings.tls_cert is not None:
        options |= {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}
    return options


class SafeEdge:
    """ASGI middleware at the very edge: who is really asking, and what every answer tells a browser."""

    def __init__(self, app: ASGIApp, proxies: Collection[str]) -> None:
        self._app, self._proxies = app, frozenset(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the client's own address and scheme; refuse one that went around the proxy."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._proxies:
            peer = (scope.get("client") or ("", 0))[0]
            if peer in self._proxies:
                scope = _as_the_client_sent_it(scope, self._proxies)
            elif peer not in LOOPBACK:
                await problem_response(Request(scope), NotThroughProxy())(scope, receive, send)
                return
        await self._app(scope, receive, _with_headers(send, is_https=scope.get("scheme") == "https"))


def _with_headers(send: Send, *, is_https: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            present = {name.lower() for name, _ in headers}
            headers += [item for item in API_HEADERS if item[0] not in present]
            if is_https:
                headers.append((b"strict-transport-security", HSTS))
            message = {**message, "headers": headers}
        await send(message)

    return sending


def _as_the_client_sent_it(scope: Scope, proxies: Collection[str]) -> Scope:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    changed: dict[str, Any] = {}
    if headers.get(b"x-forwarded-proto") in ("http", "https"):
        changed["scheme"] = headers[b"x-forwarded-proto"]
    # whoever asks may write anything into the header; the proxies add what they saw at its end
    hops = [hop.strip() for hop in headers.get(b"x-forwarded-for", "").split(",") if hop.strip()]
    client = next((hop for hop in reversed(hops) if hop not in proxies), None)
    if client is not None and _is_address(client):
        changed["client"] = (client, 0)
    return {**scope, **changed}


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
