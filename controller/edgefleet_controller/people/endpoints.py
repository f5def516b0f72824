"""``/v1/users``, ``/v1/projects``, ``/v1/api-tokens`` and ``/v1/me``."""

from fastapi import APIRouter, status

from edgefleet_controller.auth.guard import PrincipalOf
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.people import repository, service
from edgefleet_controller.people.schemas import (
    ApiTokenCreate,
    ApiTokenCreated,
    ApiTokenView,
    Me,
    Members,
    MemberSet,
    MemberView,
    PasswordChange,
    PasswordSet,
    ProjectChange,
    ProjectCreate,
    ProjectView,
    UserCreate,
    UserView,
)
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession

router = APIRouter(prefix="/v1", tags=["people"])


@router.get("/me")
def show_me(principal: PrincipalOf) -> Me:
    """Who the request comes from, and what it may do where."""
    fields = {name: getattr(principal, name) for name in Me.model_fields}
    return Me.model_validate(fields | {"roles": dict(principal.roles)})


@router.post("/me/password")
def change_password(body: PasswordChange, principal: PrincipalOf, session: WriteSession) -> UserView:
    """Change one's own password; all sessions end."""
    return service.view_user(service.change_own_password(session, principal, body))


@router.post("/users", status_code=status.HTTP_201_CREATED)
def create_user(body: UserCreate, session: WriteSession) -> UserView:
    """Add a user."""
    return service.view_user(service.add_user(session, body))


@router.get("/users")
def list_users(page: PageQuery, session: ReadSession) -> Page[UserView]:
    """Users, newest first."""
    rows, cursor = repository.page_of_users(session, page)
    return Page[UserView](items=[service.view_user(row) for row in rows], next_cursor=cursor)


@router.post("/users/{user_id}/disable")
def disable_user(user_id: str, session: WriteSession) -> UserView:
    """Let nothing of the user's in any more, from the next request on."""
    return service.view_user(service.set_disabled(session, user_id, disabled=True))


@router.post("/users/{user_id}/enable")
def enable_user(user_id: str, session: WriteSession) -> UserView:
    """Let a disabled user in again."""
    return service.view_user(service.set_disabled(session, user_id, disabled=False))


@router.post("/users/{user_id}/password")
def set_password(user_id: str, body: PasswordSet, session: WriteSession) -> UserView:
    """Give a user a new password; all sessions end."""
    user = service.find_user(session, user_id)
    return service.view_user(service.set_password(session, user, body.password.get_secret_value()))


@router.post("/projects", status_code=status.HTTP_201_CREATED)
def create_project(body: ProjectCreate, session: WriteSession) -> ProjectView:
    """Add a project."""
    return ProjectView.model_validate(service.add_project(session, body))


@router.get("/projects")
def list_projects(page: PageQuery, principal: PrincipalOf, session: ReadSession) -> Page[ProjectView]:
    """Projects that the caller has a role in, newest first."""
    only = None if principal.is_admin else frozenset(principal.roles)
    rows, cursor = repository.page_of_projects(session, page, only)
    return Page[ProjectView](items=service.view_projects(session, rows), next_cursor=cursor)


@router.patch("/projects/{project_id}")
def change_project(project_id: str, body: ProjectChange, session: WriteSession) -> ProjectView:
    """Give a project another quota, or none."""
    return service.set_quota(session, project_id, body.quota_bytes)


@router.get("/projects/{project_id}/members")
def list_members(project_id: str, session: ReadSession) -> Members:
    """Who may do what in the project."""
    return Members(items=service.members(session, project_id))


@router.put("/projects/{project_id}/members/{user_id}")
def set_member(project_id: str, user_id: str, body: MemberSet, session: WriteSession) -> MemberView:
    """Give a user a role in the project, instead of the present one if there is one."""
    return service.set_member(session, project_id, user_id, body.role)


@router.delete("/projects/{project_id}/members/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_member(project_id: str, user_id: str, session: WriteSession) -> None:
    """Take a user's role in the project away, with the tokens for it."""
    service.remove_member(session, project_id, user_id)


@router.post("/api-tokens", status_code=status.HTTP_201_CREATED)
def create_api_token(
    body: ApiTokenCreate, principal: PrincipalOf, session: WriteSession, services: ServicesOf
) -> ApiTokenCreated:
    """Make a token for programs; it is shown this once."""
    return service.issue_token(session, principal, body, services.tokens)


@router.get("/api-tokens")
def list_api_tokens(page: PageQuery, principal: PrincipalOf, session: ReadSession) -> Page[ApiTokenView]:
    """One's own tokens without their secrets, newest first; an administrator sees everyone's."""
    rows, cursor = repository.page_of_tokens(session, page, None if principal.is_admin else principal.user_id)
    return Page[ApiTokenView](items=[service.view_token(row) for row in rows], next_cursor=cursor)


@router.post("/api-tokens/{token_id}/revoke")
def revoke_api_token(token_id: str, principal: PrincipalOf, session: WriteSession) -> ApiTokenView:
    """End a token; its next request is refused."""
    return service.view_token(service.revoke_token(session, principal, token_id))
