"""Users, projects, roles and API tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from edgefleet_controller.auth.caller import current_caller
from edgefleet_controller.auth.passwords import hash_password, is_password
from edgefleet_controller.auth.principal import Principal
from edgefleet_controller.auth.tokens import OPERATOR_PREFIX, TokenSource, hash_token
from edgefleet_controller.blobs.repository import sent_bytes
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import ROLES, ApiToken, Membership, Project, User
from edgefleet_controller.errors import NameTaken, NotAllowed, NotFound
from edgefleet_controller.people import repository
from edgefleet_controller.people.errors import PasswordRefused, UnknownUserNamed
from edgefleet_controller.people.schemas import (
    ApiTokenCreate,
    ApiTokenCreated,
    ApiTokenView,
    MemberView,
    PasswordChange,
    ProjectCreate,
    ProjectView,
    UserCreate,
    UserView,
)


def add_user(session: Session, request: UserCreate) -> User:
    """A new user; NameTaken if the name is in use."""
    password = request.password.get_secret_value() if request.password is not None else None
    user = User(
        id=new_id("usr"),
        name=request.name,
        password_hash=hash_password(password) if password is not None else None,
        is_admin=request.is_admin,
        created_at=now_of(session),
    )
    if repository.find_user(session, request.name) is not None:
        raise NameTaken(f"A user is called {request.name!r} already; choose another name.")
    _insert(session, user, f"A user is called {request.name!r} already; choose another name.")
    return user


def view_user(user: User) -> UserView:
    """The user as the API shows it."""
    columns = {name: getattr(user, name) for name in UserView.model_fields if name != "has_password"}
    return UserView(**columns, has_password=user.password_hash is not None)


def find_user(session: Session, name_or_id: str) -> User:
    """The user; NotFound if there is none."""
    user = repository.find_user(session, name_or_id)
    if user is None:
        raise NotFound(f"No user is called {name_or_id!r}; list them with `edgefleet user ls`.")
    return user


def set_disabled(session: Session, name_or_id: str, *, disabled: bool) -> User:
    """Disable a user, whose sessions and tokens end at the next request, or let one in again."""
    user = find_user(session, name_or_id)
    if disabled and user.disabled_at is None:
        user.disabled_at = now_of(session)
        repository.end_sessions(session, user.id)
    elif not disabled:
        user.disabled_at = None
    session.flush()
    return user


def set_password(session: Session, user: User, password: str) -> User:
    """Give the user a new password and end all sessions."""
    user.password_hash = hash_password(password)
    repository.end_sessions(session, user.id)
    session.flush()
    return user


def change_own_password(session: Session, principal: Principal, request: PasswordChange) -> User:
    """A new password for oneself; PasswordRefused unless the present one is right."""
    if principal.kind != "user" or principal.user_id is None:
        raise NotAllowed("Only a person who signed in with a password changes it; an administrator can set one.")
    user = find_user(session, principal.user_id)
    if not is_password(request.present.get_secret_value(), user.password_hash):
        raise PasswordRefused("The present password is not right.")
    return set_password(session, user, request.password.get_secret_value())


def add_project(session: Session, request: ProjectCreate) -> Project:
    """A new project; NameTaken if the name is in use."""
    taken = f"A project is called {request.name!r} already; choose another name."
    if repository.find_project(session, request.name) is not None:
        raise NameTaken(taken)
    project = Project(id=new_id("prj"), name=request.name, created_at=now_of(session))
    _insert(session, project, taken)
    return project


def find_project(session: Session, name_or_id: str) -> Project:
    """The project; NotFound if there is none, or the caller has no part in it."""
    project, caller = repository.find_project(session, name_or_id), current_caller()
    allowed = caller.projects if caller is not None else None
    if project is None or (allowed is not None and project.id not in allowed):
        raise NotFound(f"There is no project {name_or_id!r}, or you may not do that in it.")
    return project


def set_quota(session: Session, project_name: str, quota_bytes: int | None) -> ProjectView:
    """Give the project another quota, or none; what it has sent already stays."""
    project = find_project(session, project_name)
    project.quota_bytes = quota_bytes
    session.flush()
    return view_projects(session, [project])[0]


def view_projects(session: Session, projects: Sequence[Project]) -> list[ProjectView]:
    """The projects as the API shows them, with what each has sent."""
    sent = sent_bytes(session, [project.id for project in projects])
    return [
        ProjectView.model_validate(project).model_copy(update={"sent_bytes": sent.get(project.id, 0)})
        for project in projects
    ]


def members(session: Session, project_name: str) -> list[MemberView]:
    """Who may do what in the project."""
    project = find_project(session, project_name)
    return [
        MemberView.model_validate({"user_id": user.id, "user_name": user.name, "role": row.role})
        for row, user in repository.members_of(session, project.id)
    ]


def set_member(session: Session, project_name: str, user_name: str, role: str) -> MemberView:
    """Give the user a role in the project."""
    project = find_project(session, project_name)
    user = repository.find_user(session, user_name)
    if user is None:
        raise UnknownUserNamed(f"No user is called {user_name!r}; an administrator adds one with `edgefleet user add`.")
    row = repository.membership(session, project.id, user.id)
    if row is None:
        repository.add(session, Membership(project_id=project.id, user_id=user.id, role=role))
    else:
        row.role = role
    session.flush()
    return MemberView.model_validate({"user_id": user.id, "user_name": user.name, "role": role})


def remove_member(session: Session, project_name: str, user_name: str) -> None:
    """Take the user's role in the project away, with the tokens for it; NotFound if there was none."""
    project = find_project(session, project_name)
    user = repository.find_user(session, user_name)
    row = repository.membership(session, project.id, user.id) if user is not None else None
    if row is None:
        raise NotFound(f"{user_name!r} is no member of the project {project.name}.")
    session.delete(row)
    repository.revoke_tokens(session, row.user_id, project.id, now_of(session))
    session.flush()


def issue_token(
    session: Session, principal: Principal, request: ApiTokenCreate, tokens: TokenSource
) -> ApiTokenCreated:
    """A new API token. A token that asks for one gets none that may do more, or lives longer, than itself."""
    user = _owner(session, principal, request.user)
    project = find_project(session, request.project) if request.project is not None else None
    now = now_of(session)
    expires_at = now + timedelta(seconds=request.ttl_s) if request.ttl_s is not None else None
    _require_no_more(principal, request, expires_at)
    secret = tokens(OPERATOR_PREFIX)
    row = ApiToken(
        id=new_id("tok"),
        name=request.name,
        token_sha256=hash_token(secret),
        last_four=secret[-4:],
        user_id=user.id,
        project_id=project.id if project is not None else None,
        role=request.role,
        expires_at=expires_at,
        created_at=now,
    )
    repository.add(session, row)
    return ApiTokenCreated(**view_token(row).model_dump(), token=secret)


def view_token(row: ApiToken) -> ApiTokenView:
    """The token without its secret."""
    columns = {name: getattr(row, name) for name in ApiTokenView.model_fields if name != "hint"}
    return ApiTokenView(**columns, hint=f"{OPERATOR_PREFIX}...{row.last_four}")


def revoke_token(session: Session, principal: Principal, token_id: str) -> ApiToken:
    """End a token; its next request is refused. NotFound for another user's, but for administrators."""
    row = repository.find_token(session, token_id)
    if row is None or not (principal.is_admin or row.user_id == principal.user_id):
        raise NotFound(f"You have no token {token_id!r}; list them with `edgefleet token ls`.")
    if row.revoked_at is None:
        row.revoked_at = now_of(session)
    session.flush()
    return row


def _owner(session: Session, principal: Principal, wanted: str | None) -> User:
    if wanted is None:
        if principal.user_id is None:
            raise UnknownUserNamed("The operator token is nobody's: say whose the new token is to be (`user`).")
        return find_user(session, principal.user_id)
    user = repository.find_user(session, wanted)
    if principal.is_admin and user is None:
        raise UnknownUserNamed(f"No user is called {wanted!r}; add one with `edgefleet user add`.")
    if user is None or not (principal.is_admin or user.id == principal.user_id):
        raise NotAllowed("Only administrators make tokens for others.")
    return user


def _require_no_more(principal: Principal, request: ApiTokenCreate, expires_at: datetime | None) -> None:
    own = principal.token
    if own is None:
        return
    is_wider = ROLES.index(request.role) > ROLES.index(own.role)
    lives_longer = own.expires_at is not None and (expires_at is None or expires_at > own.expires_at)
    is_elsewhere = own.project_id is not None and request.project not in (own.project_id,)
    if is_wider or lives_longer or is_elsewhere:
        raise NotAllowed("A token makes only tokens that may do no more and live no longer than itself.")


def _insert(session: Session, row: User | Project, taken: str) -> None:
    try:
        repository.add(session, row)
    except IntegrityError as err:  # two at once, both saw the name free
        raise NameTaken(taken) from err
