"""Sends one message to an address that people chose: HTTPS only, signed, and never into a private network.

The name is resolved once, every address that it has must be public, and the connection goes to the address that was
checked, with the certificate checked for the name: a name that answers otherwise a moment later changes nothing. No
redirect is followed, and nothing of the answer is kept but its status.
"""

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from edgefleet_controller.regressions.errors import WebhookRefused

TIMEOUT_S = 10.0
Resolve = Callable[[str, int], Sequence[str]]


class NotDelivered(Exception):
    """The message was not taken; the text says why and names no address of ours."""


class Sender(Protocol):
    """Hands a body to an address."""

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise NotDelivered unless it was answered with 2xx."""
        ...


def check_address(url: str) -> SplitResult:
    """The parts of an address that may be a webhook's; WebhookRefused with the reason otherwise."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise WebhookRefused(f"The address cannot be read: {err}.") from err
    if parts.scheme != "https" or not parts.hostname:
        raise WebhookRefused("A webhook is called by https only; give an address that begins with https://.")
    if parts.username is not None or parts.password is not None:
        raise WebhookRefused(
            "The address holds a name or password; messages are signed instead, see docs/regressions.md."
        )
    if port == 0 or any(not letter.isprintable() or letter == " " for letter in url):
        raise WebhookRefused("The address holds a character or port that no address has.")
    literal = _literal(parts.hostname)
    if literal is not None and not literal.is_global:
        raise WebhookRefused(f"{parts.hostname} is no public address; webhooks leave the network.")
    return parts


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def public_address(host: str, port: int, resolver: Resolve = resolve) -> str:
    """The address to connect to; NotDelivered where any of the host's addresses is not public.

    One private address among public ones is refused too: which one a connection would take is not ours to choose.
    """
    try:
        addresses = resolver(host, port)
    except OSError as err:
        raise NotDelivered(f"{host} has no address ({err.strerror or err})") from err
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_global or address.is_multicast:
            raise NotDelivered(f"{host} leads to an address that is not public; it is not called")
    if not addresses:
        raise NotDelivered(f"{host} has no address")
    return addresses[0]


def sign(secret: str, at_s: int, body: bytes) -> str:
    """The value of ``X-Edgefleet-Signature``: HMAC-SHA256 (RFC 2104) over instant, dot and body."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class _PinnedConnection(http.client.HTTPSConnection):
    """Connects to an address that was checked before, and checks the certificate for the host's name."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S, context=context)
        self._address, self._tls = address, context

    def connect(self) -> None:
        """Open the socket to the address, then TLS for the name."""
        plain = socket.create_connection((self._address, self.port), TIMEOUT_S)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class HttpsSender:
    """Sends over the network. context and resolver: of tests."""

    def __init__(self, context: ssl.SSLContext | None = None, resolver: Resolve = resolve) -> None:
        self._context = context or ssl.create_default_context()
        self._resolver = resolver

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """POST the body; NotDelivered unless it was answered with 2xx."""
        try:
            parts = check_address(url)
        except WebhookRefused as err:
            raise NotDelivered(str(err)) from err
        host, port = str(parts.hostname), parts.port or 443
        connection = _PinnedConnection(host, port, public_address(host, port, self._resolver), self._context)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", path, body, dict(headers))
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as err:
            raise NotDelivered(f"{host} cannot be reached ({type(err).__name__})") from err
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise NotDelivered(f"{host} answered {status}")
