"""The pages: sign in, list of jobs, one job."""

from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from edgefleet_controller.auth.guard import COOKIE_NAME
from edgefleet_controller.auth.tokens import equal_in_constant_time, session_cookie
from edgefleet_controller.errors import NotAuthenticated
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service as job_service
from edgefleet_controller.jobs.repository import ENDED
from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.services import ReadSession, Services, ServicesOf
from edgefleet_controller.web.job_page import job_page
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)
STYLE_SHEET = Path(__file__).parent / "static" / "style.css"
N_EVENTS = 1000


@router.get("/login")
def show_login(services: ServicesOf, request: Request, token: str | None = None) -> Response:
    """The form; with ``?token=`` in the address the sign-in itself, for the link that ``edgefleet serve`` prints."""
    return render("login.html", failed=False) if token is None else _sign_in(services, request, token)


@router.post("/login")
async def log_in(services: ServicesOf, request: Request) -> Response:
    """Sign in with the operator token."""
    fields = parse_qs((await request.body()).decode(errors="replace"))
    return _sign_in(services, request, fields.get("token", [""])[0].strip())


@router.post("/logout")
def log_out() -> Response:
    """Forget the cookie."""
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE_NAME)
    return response


@router.get("/static/style.css")
def style_sheet() -> Response:
    """The style sheet, light and dark."""
    return FileResponse(STYLE_SHEET, headers={"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"})


@router.get("/")
def list_jobs(page: PageQuery, session: ReadSession) -> Response:
    """Jobs, newest first."""
    rows, cursor = jobs.page_of_jobs(session, page)
    return render("jobs.html", jobs=rows, next_cursor=cursor)


@router.get("/jobs/{job_id}")
def show_job(job_id: str, session: ReadSession) -> Response:
    """One job: table, front and log."""
    job = job_service.find(session, job_id)
    events = jobs.events_after(session, job_id, 0, N_EVENTS)
    return render("job.html", job=job, is_ended=job.state in ENDED, events=events, page=job_page(session, job_id))


def _sign_in(services: Services, request: Request, token: str) -> Response:
    if not equal_in_constant_time(token, services.operator_token):
        return render("login.html", NotAuthenticated.status, failed=True)
    response = RedirectResponse("/", status_code=303, headers={"Cache-Control": "no-store"})
    is_https = request.url.scheme == "https"
    cookie = session_cookie(services.operator_token)
    response.set_cookie(COOKIE_NAME, cookie, httponly=True, samesite="lax", secure=is_https, max_age=30 * 86400)
    return response
