"""Who may do what, and who did what: tokens, users, projects, and the audit log."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from edgefleet_controller.audit import service as audit
from edgefleet_controller.audit.schemas import AuditRequest
from edgefleet_controller.auth.guard import PrincipalOf
from edgefleet_controller.pagination import PageQuery, PageRequest
from edgefleet_controller.people import repository, service
from edgefleet_controller.people.schemas import ApiTokenCreate, MemberSet, ProjectCreate, UserCreate
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession
from edgefleet_controller.web.checking import checked
from edgefleet_controller.web.forms import FormOf
from edgefleet_controller.web.rendering import redirect, render

router = APIRouter(include_in_schema=False, default_response_class=Response)
N_PROJECTS = 100
DAY_S = timedelta(days=1).total_seconds()


@router.get("/audit")
def show_audit(request: Request, wanted: Annotated[AuditRequest, Query()], session: ReadSession) -> Response:
    """Who changed what, newest first."""
    page = audit.page_of_entries(session, wanted)
    return render(request, "audit.html", page=page, wanted=wanted, check=None)


@router.post("/audit/check")
def check_audit(request: Request, session: ReadSession) -> Response:
    """The same with whether the chain of hashes is whole: every hash is computed again."""
    wanted = AuditRequest()
    page = audit.page_of_entries(session, wanted)
    return render(request, "audit.html", page=page, wanted=wanted, check=audit.check_chain(session))


@router.get("/tokens")
def show_tokens(request: Request, page: PageQuery, principal: PrincipalOf, session: ReadSession) -> Response:
    """One's own API tokens; an administrator sees everyone's."""
    rows, cursor = repository.page_of_tokens(session, page, None if principal.is_admin else principal.user_id)
    tokens = [service.view_token(row) for row in rows]
    projects, _ = repository.page_of_projects(
        session, PageRequest(limit=N_PROJECTS), None if principal.is_admin else frozenset(principal.roles)
    )
    people = {row.user_id: repository.find_user(session, row.user_id) for row in rows}
    names = {user_id: user.name for user_id, user in people.items() if user is not None}
    return render(
        request,
        "tokens.html",
        tokens=tokens,
        next_cursor=cursor,
        projects=projects,
        names=names,
        principal=principal,
        made=None,
    )


@router.post("/tokens")
def make_token(
    request: Request, principal: PrincipalOf, session: WriteSession, services: ServicesOf, form: FormOf
) -> Response:
    """A new token; it is shown this once."""
    days = form.optional("days")
    wanted = checked(
        ApiTokenCreate,
        name=form.text("name"),
        role=form.text("role") or "operator",
        project=form.optional("project"),
        user=form.optional("user"),
        ttl_s=float(days) * DAY_S if days is not None and days.replace(".", "", 1).isdigit() else None,
    )
    made = service.issue_token(session, principal, wanted, services.tokens)
    return render(request, "token_made.html", made=made)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(token_id: str, principal: PrincipalOf, session: WriteSession) -> Response:
    """End a token."""
    service.revoke_token(session, principal, token_id)
    return redirect("/tokens")


@router.get("/users")
def show_users(request: Request, page: PageQuery, session: ReadSession) -> Response:
    """Users, and projects with their members."""
    rows, cursor = repository.page_of_users(session, page)
    projects, _ = repository.page_of_projects(session, PageRequest(limit=N_PROJECTS), None)
    members = {project.id: service.members(session, project.id) for project in projects}
    users = [service.view_user(row) for row in rows]
    return render(request, "users.html", users=users, next_cursor=cursor, projects=projects, members=members)


@router.post("/users")
def add_user(session: WriteSession, form: FormOf) -> Response:
    """A new user."""
    password = form.optional("password")
    wanted = checked(UserCreate, name=form.text("name"), password=password, is_admin=form.is_set("is_admin"))
    service.add_user(session, wanted)
    return redirect("/users")


@router.post("/users/{user_id}/{action}")
def change_user(user_id: str, action: Literal["disable", "enable"], session: WriteSession) -> Response:
    """Let a user in no more, or again."""
    service.set_disabled(session, user_id, disabled=action == "disable")
    return redirect("/users")


@router.post("/projects")
def add_project(session: WriteSession, form: FormOf) -> Response:
    """A new project."""
    service.add_project(session, checked(ProjectCreate, name=form.text("name")))
    return redirect("/users")


@router.post("/projects/{project_id}/members")
def set_member(project_id: str, session: WriteSession, form: FormOf) -> Response:
    """Give a user a role in a project, or take it away."""
    role = form.text("role")
    if role == "none":
        service.remove_member(session, project_id, form.text("user"))
    else:
        service.set_member(session, project_id, form.text("user"), checked(MemberSet, role=role).role)
    return redirect("/users")
