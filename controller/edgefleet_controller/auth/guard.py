"""The one dependency that lets a request in: deny by default, then by role."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.auth.access import Role, required_role
from edgefleet_controller.auth.repository import find_device_id
from edgefleet_controller.auth.tokens import (
    DEVICE_PREFIX,
    equal_in_constant_time,
    hash_token,
    session_cookie,
)
from edgefleet_controller.errors import ForeignOrigin, NotAllowed, NotAuthenticated
from edgefleet_controller.services import Services, ServicesOf

COOKIE_NAME = "edgefleet_session"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


async def authorize(request: Request, services: ServicesOf) -> None:
    """Refuse the request unless the credential's role is the one the route asks for."""
    route = request.scope.get("route")
    role = required_role(request.method, getattr(route, "path", ""))
    if role is None:
        raise NotAllowed("Nobody may use this route: it is not listed in the access table.")
    if role is Role.PUBLIC:
        return
    if await _identify(request, services) is not role:
        raise NotAllowed(f"This needs the credential of the role {role.value}.")


async def _identify(request: Request, services: Services) -> Role:
    header = request.headers.get("Authorization")
    if header is not None:
        return await _identify_bearer(request, services, header)
    cookie = request.cookies.get(COOKIE_NAME)
    if cookie is None or not equal_in_constant_time(cookie, session_cookie(services.operator_token)):
        raise NotAuthenticated
    _refuse_foreign_origin(request)
    return Role.OPERATOR


async def _identify_bearer(request: Request, services: Services, header: str) -> Role:
    scheme, _, token = header.partition(" ")
    token_sha256 = hash_token(token.strip())
    if scheme.lower() != "bearer":
        raise NotAuthenticated("The Authorization header must be `Bearer <token>`.")
    if token.startswith(DEVICE_PREFIX):
        device_id = await run_in_threadpool(_find_device, services, token_sha256)
        if device_id is not None:
            request.state.device_id = device_id
            return Role.DEVICE
    elif equal_in_constant_time(token_sha256, hash_token(services.operator_token)):
        return Role.OPERATOR
    raise NotAuthenticated("The token is unknown or was revoked.")


def _find_device(services: Services, token_sha256: str) -> str | None:
    with services.database.reading() as session:
        return find_device_id(session, token_sha256)


def _refuse_foreign_origin(request: Request) -> None:
    # a browser sends the cookie along with requests that other sites' pages make; those carry another Origin
    if request.method in _SAFE_METHODS:
        return
    own = f"{request.url.scheme}://{request.headers.get('Host', '')}"
    if request.headers.get("Origin") != own:
        raise ForeignOrigin


def _current_device(request: Request) -> str:
    device_id: str | None = getattr(request.state, "device_id", None)
    if device_id is None:
        raise NotAuthenticated
    return device_id


DeviceId = Annotated[str, Depends(_current_device)]
"""The device whose credential the request carries; every lookup for it is restricted to its own things."""
