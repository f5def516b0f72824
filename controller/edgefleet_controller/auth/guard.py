"""The one dependency that lets a request in: deny by default, then by role, then limited to the caller's projects."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import or_, select

from edgefleet_controller.auth import principal as principals
from edgefleet_controller.auth.access import Role, required_role
from edgefleet_controller.auth.caller import DEFAULT_PROJECT, Caller, set_caller
from edgefleet_controller.auth.errors import ForeignOrigin
from edgefleet_controller.auth.principal import OPERATOR, Principal
from edgefleet_controller.auth.tokens import DEVICE_PREFIX, equal_in_constant_time, hash_token
from edgefleet_controller.db.tables import Project
from edgefleet_controller.dispatch.roster import Card
from edgefleet_controller.errors import NotAllowed, NotAuthenticated, NotFound
from edgefleet_controller.services import Services, ServicesOf

COOKIE_NAME = "edgefleet_session"
PROJECT_HEADER = "X-Edgefleet-Project"
"""Names the project, by name or identifier, that a request is about; needed where the caller has several."""

LOCAL_PATHS = ("/metrics",)
"""A request from the host itself needs no credential here: a Prometheus beside the controller has none."""

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OWN_SITE = (None, "same-origin", "none")


async def authorize(request: Request, services: ServicesOf) -> None:
    """Refuse the request unless its credential may use the route; from then on it sees its own projects only."""
    path = getattr(request.scope.get("route"), "path", "")
    role = required_role(request.method, path)
    if role is None:
        raise NotAllowed("Nobody may use this route: it is not listed in the access table.")
    address = request.client.host if request.client is not None else None
    action = f"{request.method} {path}"
    if role is Role.PUBLIC or (path in LOCAL_PATHS and is_local(request)):
        set_caller(Caller("anonymous", "anonymous", address, action))
        return
    device_id = await _device_of(request, services)
    if device_id is not None:
        _require(role is Role.DEVICE, role)
        _enter_as_device(request, services, device_id, action)
        return
    found = await run_in_threadpool(_find_person, request, services)
    _require(role is not Role.DEVICE, role)
    services.rate_limits.requests.take(found.name)
    request.state.principal = found
    caller = Caller(found.kind, found.name, address, action, found.user_id, found.is_admin)
    wanted = request.headers.get(PROJECT_HEADER)
    set_caller(await run_in_threadpool(_limit, services, found, role, caller, wanted))


def is_local(request: Request) -> bool:
    """Whether the request was made on this host; one that a proxy passed on was not."""
    if any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")):
        return False
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:  # no address, such as that of a test client
        return False


def _require(is_allowed: bool, role: Role) -> None:
    if not is_allowed:
        raise NotAllowed(f"This needs the credential of the role {role.value}.")


def _bearer(request: Request) -> str | None:
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated("The Authorization header must be `Bearer <token>`.")
    return token.strip()


async def _device_of(request: Request, services: Services) -> str | None:
    """The device whose credential the request carries; None for credentials of people."""
    token = _bearer(request)
    if token is None or not token.startswith(DEVICE_PREFIX):
        return None
    token_sha256, now = hash_token(token), services.clock.now()
    card = services.desk.roster.of_credential(token_sha256, now)
    if card is None:
        card = await run_in_threadpool(_find_device, services, token_sha256)
    if card is None:
        raise NotAuthenticated("The token is unknown or was revoked.")
    return card.id


def _find_device(services: Services, token_sha256: str) -> Card | None:
    # it may have enrolled at another process a moment ago
    with services.database.reading() as session:
        return services.desk.roster.fetch_by_credential(session, token_sha256, services.clock.now())


async def admit_device(request: Request, services: Services, action: str) -> str:
    """The device that makes this request on a route of devices; NotAuthenticated or NotAllowed for anybody else."""
    device_id = await _device_of(request, services)
    if device_id is None:
        await run_in_threadpool(_find_person, request, services)
        raise NotAllowed(f"This needs the credential of the role {Role.DEVICE.value}.")
    _enter_as_device(request, services, device_id, action)
    return device_id


def _enter_as_device(request: Request, services: Services, device_id: str, action: str) -> None:
    services.rate_limits.requests.take(device_id)
    request.state.device_id = device_id
    address = request.client.host if request.client is not None else None
    set_caller(Caller("device", device_id, address, action))


def _find_person(request: Request, services: Services) -> Principal:
    token, now = _bearer(request), services.clock.now()
    if token is not None:
        if equal_in_constant_time(hash_token(token), hash_token(services.operator_token)):
            return OPERATOR
        with services.database.reading() as session:
            found = principals.of_api_token(session, token, now)
        if found is None:
            raise NotAuthenticated("The token is unknown, expired or revoked.")
        return found
    cookie = request.cookies.get(COOKIE_NAME)
    if cookie is None:
        raise NotAuthenticated
    with services.database.reading() as session:
        found = principals.of_web_session(session, cookie, now)
    if found is None:
        raise NotAuthenticated("The session has ended; sign in again.")
    refuse_foreign_origin(request)
    return found


def _limit(services: Services, found: Principal, role: Role, caller: Caller, wanted: str | None) -> Caller:
    """The caller with the projects that it may act in on a route that asks for this role."""
    if role is Role.FLEET_ADMIN:
        _require(found.is_admin, role)
    if role in (Role.PERSON, Role.FLEET_ADMIN):
        return replace(caller, projects=None if found.is_admin else frozenset(found.roles))
    projects = found.projects_with(role)
    _require(projects is None or bool(projects), role)
    if wanted is not None:
        with services.database.reading() as session:
            query = select(Project.id).where(or_(Project.id == wanted, Project.name == wanted))
            project_id = session.scalar(query)
        if project_id is None or (projects is not None and project_id not in projects):
            raise NotFound(f"There is no project {wanted!r} in which you have the role {role.value}.")
        return replace(caller, projects=frozenset([project_id]), project_id=project_id)
    if projects is None or DEFAULT_PROJECT in projects:
        return replace(caller, projects=projects, project_id=DEFAULT_PROJECT)
    return replace(caller, projects=projects, project_id=next(iter(projects)) if len(projects) == 1 else None)


def refuse_foreign_origin(request: Request) -> None:
    """ForeignOrigin for a change that another site's page asks for: the browser sends the cookie along with it."""
    if request.method in _SAFE_METHODS:
        return
    own = f"{request.url.scheme}://{request.headers.get('Host', '')}"
    if request.headers.get("Origin") != own or request.headers.get("Sec-Fetch-Site") not in _OWN_SITE:
        raise ForeignOrigin


def _current_device(request: Request) -> str:
    device_id: str | None = getattr(request.state, "device_id", None)
    if device_id is None:
        raise NotAuthenticated
    return device_id


def _current_principal(request: Request) -> Principal:
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        raise NotAuthenticated
    return principal


DeviceId = Annotated[str, Depends(_current_device)]
"""The device whose credential the request carries; every lookup for it is restricted to its own things."""

PrincipalOf = Annotated[Principal, Depends(_current_principal)]
"""The person or program that signed in."""
