"""Finds out who a credential belongs to and what it may do where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from edgefleet_controller.auth.access import Role
from edgefleet_controller.auth.caller import OPERATOR_TOKEN
from edgefleet_controller.auth.tokens import hash_token
from edgefleet_controller.db.tables import ROLES, ApiToken, Membership, Project, User, WebSession


@dataclass(frozen=True)
class Principal:
    """Whoever a credential belongs to. ``roles`` is by project; a fleet administrator needs none."""

    kind: str
    name: str
    user_id: str | None = None
    is_admin: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    token: ApiToken | None = None

    def projects_with(self, role: Role) -> frozenset[str] | None:
        """Projects in which it has at least this role; None: all."""
        if self.is_admin:
            return None
        least = ROLES.index(role.value)
        return frozenset(project for project, held in self.roles.items() if ROLES.index(held) >= least)


OPERATOR = Principal(OPERATOR_TOKEN.replace("-", "_"), OPERATOR_TOKEN, is_admin=True)
"""Whoever holds the token of the first start administers the fleet."""


def of_user(session: Session, user: User) -> Principal:
    """A user who signed in with a password."""
    return Principal("user", user.name, user.id, user.is_admin, _roles(session, user))


def of_api_token(session: Session, token: str, now: datetime) -> Principal | None:
    """The user of an API token, with no more than the token's role and project; None if it is not valid (any more)."""
    query = (
        select(ApiToken, User)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.token_sha256 == hash_token(token), ApiToken.revoked_at.is_(None), User.disabled_at.is_(None))
        .where(or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now))
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    row, user = found
    held = _roles(session, user)
    roles = {
        project: min(role, row.role, key=ROLES.index)
        for project, role in held.items()
        if row.project_id in (None, project)
    }
    is_admin = user.is_admin and row.role == "admin" and row.project_id is None
    return Principal("api_token", f"{user.name}/{row.name}", user.id, is_admin, roles, row)


def of_web_session(session: Session, cookie: str, now: datetime) -> Principal | None:
    """Who signed in with this browser; None if the session ended or its user was disabled."""
    row = session.get(WebSession, hash_token(cookie))
    if row is None or row.expires_at <= now:
        return None
    if row.user_id is None:
        return OPERATOR
    user = session.get(User, row.user_id)
    return of_user(session, user) if user is not None and user.disabled_at is None else None


def _roles(session: Session, user: User) -> dict[str, str]:
    if user.is_admin:
        return dict.fromkeys(session.scalars(select(Project.id)), "admin")
    query = select(Membership.project_id, Membership.role).where(Membership.user_id == user.id)
    return {row.project_id: row.role for row in session.execute(query)}
