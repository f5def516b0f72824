"""Jobs: the list, and one job as it goes and with what came out of it."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service as job_service
from edgefleet_controller.jobs.remeasuring import remeasure
from edgefleet_controller.jobs.schemas import RemeasureCreate
from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.results.service import variant_rows
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession
from edgefleet_controller.web.charts import Chart
from edgefleet_controller.web.job_page import GROUPS, JobPage, curves_of, front_of, job_page
from edgefleet_controller.web.live import Part, View, stream
from edgefleet_controller.web.navigation import Visitor, visitor_of
from edgefleet_controller.web.rendering import SECURITY_HEADERS, redirect, render, render_part

router = APIRouter(include_in_schema=False, default_response_class=Response)
Group = Literal["loss", "share", "rest"]


@router.get("/jobs")
def list_jobs(request: Request, page: PageQuery, session: ReadSession) -> Response:
    """Jobs, newest first."""
    rows, cursor = jobs.page_of_jobs(session, page)
    return render(request, "jobs.html", jobs=rows, next_cursor=cursor, is_first=page.cursor is None)


def _view(page: JobPage, visitor: Visitor) -> View:
    def part(name: str, *arguments: object) -> Part:
        return Part(str(render_part("job_parts.html", name, page, *arguments, True)))

    parts = {
        "state": part("state", visitor),
        "steps": part("steps"),
        "table": Part(part("table").html, mark=f"{page.job.version} {page.n_measured}"),
        "log": Part(part("log").html, mark=str(page.events[-1].id if page.events else 0)),
    }
    signals = {
        "curves": str(page.last_training),
        "results": str(page.n_measured),
        "announce": f"The job {page.job.name} is {page.job.state}",
    }
    return View(parts, signals, is_final=page.is_ended)


@router.get("/jobs/{job_id}")
def show_job(request: Request, job_id: str, session: ReadSession) -> Response:
    """One job."""
    page = job_page(session, job_id)
    curves = {name: (GROUPS[name][0], curves_of(session, job_id, name)) for name in GROUPS if page.last_training}
    shown = {name: one for name, one in curves.items() if one[1].series}
    front = front_of(page.rows or [])
    seen = _view(page, visitor_of(request)).digest
    return render(request, "job.html", page=page, curves=shown, front=front, seen=seen)


@router.get("/jobs/{job_id}/live")
def follow_job(
    request: Request,
    job_id: str,
    session: ReadSession,
    services: ServicesOf,
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """What changes on that page."""
    found = job_service.find(session, job_id)
    visitor = visitor_of(request)

    def look() -> View:
        with services.database.reading() as fresh:
            return _view(job_page(fresh, found.id), visitor)

    return stream(services, request, f"job:{found.id}", seen, look)


@router.get("/jobs/{job_id}/curves/{group}")
def show_curves(job_id: str, group: Group, session: ReadSession) -> Response:
    """Curves of the job's trainings, as the page's script reads them."""
    return _figures(curves_of(session, job_id, group))


@router.get("/jobs/{job_id}/front")
def show_job_front(job_id: str, session: ReadSession) -> Response:
    """The points of the job, as the page's script reads them."""
    return _figures(front_of(variant_rows(session, job_id)))


def _figures(chart: Chart) -> Response:
    return JSONResponse(chart.document(), headers=SECURITY_HEADERS)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: str, session: WriteSession) -> Response:
    """End the job."""
    job = job_service.request_cancel(session, job_id)
    return redirect(f"/jobs/{job.id}")


@router.post("/jobs/{job_id}/remeasure")
def remeasure_job(job_id: str, session: WriteSession) -> Response:
    """Measure the job's artifacts once more, in a new job."""
    job = remeasure(session, job_id, RemeasureCreate())
    return redirect(f"/jobs/{job.id}")
