"""Begins and ends the sessions of browsers."""

import threading
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from edgefleet_controller.audit.recording import append_event
from edgefleet_controller.auth import principal as principals
from edgefleet_controller.auth.caller import Caller
from edgefleet_controller.auth.passwords import is_password
from edgefleet_controller.auth.tokens import SESSION_PREFIX, equal_in_constant_time, hash_token
from edgefleet_controller.db.tables import User, WebSession
from edgefleet_controller.services import Services

_HASHING = threading.BoundedSemaphore(2)
"""Passwords that are checked side by side: each takes 32 MiB, and a flood of sign-ins must not take them all."""


@dataclass(frozen=True)
class SignIn:
    """What a person typed: a name and a password, or a token."""

    name: str
    password: str
    token: str


def begin_session(services: Services, given: SignIn, address: str) -> str | None:
    """The cookie of a new session; None if what was given is not right.

    TooManyRequests after too many failures from this address, or for this name.
    """
    keys = [f"address {address}", *([f"user {given.name}"] if given.name else [])]
    services.rate_limits.refusals.require(*keys)
    is_known, user_id = _check(services, given)
    if not is_known:
        services.rate_limits.refusals.charge(*keys)
        with services.database.writing() as session:
            append_event(session, _anonymous(address), {"event": "login_refused", "name": given.name[:64]})
        return None
    cookie, now = services.tokens(SESSION_PREFIX), services.clock.now()
    with services.database.writing() as session:
        session.execute(delete(WebSession).where(WebSession.expires_at <= now))
        expires_at = now + timedelta(seconds=services.settings.session_s)
        append_event(session, _anonymous(address), {"event": "login", "user_id": user_id})
        session.add(WebSession(token_sha256=hash_token(cookie), user_id=user_id, expires_at=expires_at, created_at=now))
    return cookie


def end_session(services: Services, cookie: str | None) -> None:
    """Forget the session."""
    if cookie is not None:
        with services.database.writing() as session:
            session.execute(delete(WebSession).where(WebSession.token_sha256 == hash_token(cookie)))


def _anonymous(address: str) -> Caller:
    return Caller("anonymous", "anonymous", address, "POST /login")


def _check(services: Services, given: SignIn) -> tuple[bool, str | None]:
    """Whether the sign-in is right, and whose it is; the operator token is nobody's."""
    if given.token:
        if equal_in_constant_time(given.token, services.operator_token):
            return True, None
        with services.database.reading() as session:
            found = principals.of_api_token(session, given.token, services.clock.now())
        # a session has all of its user's rights, so a token that has less may not begin one
        is_whole = found is not None and found.token is not None and found.token.project_id is None
        return (True, found.user_id) if found is not None and is_whole and _is_unlimited(found) else (False, None)
    with services.database.reading() as session:
        user = _user_named(session, given.name)
    with _HASHING:
        is_right = is_password(given.password, user.password_hash if user is not None else None)
    return (True, user.id) if user is not None and is_right and user.disabled_at is None else (False, None)


def _is_unlimited(found: principals.Principal) -> bool:
    return found.token is not None and found.token.role == "admin"


def _user_named(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == name))
