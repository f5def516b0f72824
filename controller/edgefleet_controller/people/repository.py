"""The SQL of users, projects, memberships and API tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import ApiToken, Membership, Project, User, WebSession
from edgefleet_controller.pagination import PageRequest, fetch_page


def add(session: Session, row: User | Project | Membership | ApiToken) -> None:
    """Insert the row now, so that a violated constraint shows here."""
    session.add(row)
    session.flush()


def find_user(session: Session, name_or_id: str) -> User | None:
    """The user with this name or identifier."""
    return session.scalar(select(User).where(or_(User.id == name_or_id, User.name == name_or_id)))


def find_project(session: Session, name_or_id: str) -> Project | None:
    """The project with this name or identifier."""
    return session.scalar(select(Project).where(or_(Project.id == name_or_id, Project.name == name_or_id)))


def find_token(session: Session, token_id: str) -> ApiToken | None:
    """The API token with this identifier."""
    return session.get(ApiToken, token_id)


def page_of_users(session: Session, page: PageRequest) -> tuple[list[User], str | None]:
    """Users, newest first."""
    return fetch_page(session, select(User), User.id, page)


def page_of_projects(
    session: Session, page: PageRequest, only: frozenset[str] | None
) -> tuple[list[Project], str | None]:
    """Projects, newest first."""
    query = select(Project) if only is None else select(Project).where(Project.id.in_(only))
    return fetch_page(session, query, Project.id, page)


def page_of_tokens(session: Session, page: PageRequest, user_id: str | None) -> tuple[list[ApiToken], str | None]:
    """API tokens, newest first, of one user or of all."""
    query = select(ApiToken) if user_id is None else select(ApiToken).where(ApiToken.user_id == user_id)
    return fetch_page(session, query, ApiToken.id, page)


def members_of(session: Session, project_id: str) -> Sequence[tuple[Membership, User]]:
    """The project's members with their users, by name."""
    query = select(Membership, User).join(User, User.id == Membership.user_id)
    rows = session.execute(query.where(Membership.project_id == project_id).order_by(User.name))
    return [(membership, user) for membership, user in rows]


def membership(session: Session, project_id: str, user_id: str) -> Membership | None:
    """The user's role in the project."""
    return session.get(Membership, (project_id, user_id))


def end_sessions(session: Session, user_id: str) -> None:
    """Sign the user out everywhere."""
    session.execute(delete(WebSession).where(WebSession.user_id == user_id))


def revoke_tokens(session: Session, user_id: str, project_id: str, now: datetime) -> None:
    """Revoke the user's tokens that are for this project alone."""
    session.execute(
        update(ApiToken)
        .where(ApiToken.user_id == user_id, ApiToken.project_id == project_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
    )
