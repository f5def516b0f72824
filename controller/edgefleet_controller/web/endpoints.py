"""The pages: sign in, list of jobs, one job, one model."""

from pathlib import Path
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, RedirectResponse

from edgefleet_controller.analyses import repository as analyses
from edgefleet_controller.auth.guard import COOKIE_NAME, refuse_foreign_origin
from edgefleet_controller.auth.signing_in import SignIn, begin_session, end_session
from edgefleet_controller.errors import NotAuthenticated
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service as job_service
from edgefleet_controller.jobs.repository import ENDED
from edgefleet_controller.models import service as models
from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf
from edgefleet_controller.web.job_page import job_page
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)
STYLE_SHEET = Path(__file__).parent / "static" / "style.css"
N_EVENTS = 1000


@router.get("/login")
def show_login() -> Response:
    """The form."""
    return render("login.html", failed=False)


@router.post("/login")
async def log_in(services: ServicesOf, request: Request) -> Response:
    """Sign in with a name and a password, or with an API token or the operator token."""
    if request.headers.get("Origin") is not None:
        refuse_foreign_origin(request)
    fields = parse_qs((await request.body()).decode(errors="replace"))
    given = SignIn(*(fields.get(name, [""])[0].strip() for name in ("name", "password", "token")))
    address = request.client.host if request.client is not None else "unknown"
    cookie = await run_in_threadpool(begin_session, services, given, address)
    if cookie is None:
        return render("login.html", NotAuthenticated.status, failed=True)
    response = RedirectResponse("/", status_code=303, headers={"Cache-Control": "no-store"})
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


@router.get("/models/{model_id}")
def show_model(model_id: str, session: ReadSession) -> Response:
    """One model with the analysis that was asked for last."""
    model = models.find(session, model_id)
    return render("model.html", model=model, analysis=analyses.newest_of_model(session, model.blob_sha256))
