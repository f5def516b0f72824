"""Signing in and out, and the first page."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.auth.guard import COOKIE_NAME, refuse_foreign_origin
from edgefleet_controller.auth.signing_in import SignIn, begin_session, end_session
from edgefleet_controller.errors import NotAuthenticated
from edgefleet_controller.services import ServicesOf
from edgefleet_controller.web.forms import FormOf
from edgefleet_controller.web.navigation import places_for, visitor_of
from edgefleet_controller.web.rendering import local_path, redirect, render

router = APIRouter(include_in_schema=False, default_response_class=Response)
Next = Annotated[str, Query(alias="next", max_length=2000)]


@router.get("/")
def show_first(request: Request) -> Response:
    """The first page that the visitor may see."""
    return redirect(places_for(visitor_of(request))[0].path)


@router.get("/login")
def show_login(request: Request, following: Next = "/fleet") -> Response:
    """The form."""
    return render(request, "login.html", failed=False, following=local_path(following))


@router.post("/login")
async def log_in(services: ServicesOf, request: Request, form: FormOf) -> Response:
    """Sign in with a name and a password, or with an API token or the operator token."""
    if request.headers.get("Origin") is not None:
        refuse_foreign_origin(request)
    given = SignIn(*(form.text(name) for name in ("name", "password", "token")))
    following = local_path(form.text("next") or "/")
    address = request.client.host if request.client is not None else "unknown"
    cookie = await run_in_threadpool(begin_session, services, given, address)
    if cookie is None:
        return render(request, "login.html", NotAuthenticated.status, failed=True, following=following)
    response = redirect(following)
    response.set_cookie(
        COOKIE_NAME,
        cookie,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        max_age=int(services.settings.session_s),
    )
    return response


@router.post("/logout")
def log_out(services: ServicesOf, request: Request) -> Response:
    """End the browser's session."""
    end_session(services, request.cookies.get(COOKIE_NAME))
    response = redirect("/login")
    response.delete_cookie(COOKIE_NAME)
    return response
