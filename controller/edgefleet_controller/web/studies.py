"""Studies: the list, and one study as it goes and with what it found."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession
from edgefleet_controller.studies import service
from edgefleet_controller.web.live import Part, View, stream
from edgefleet_controller.web.navigation import Visitor, visitor_of
from edgefleet_controller.web.rendering import SECURITY_HEADERS, redirect, render, render_part
from edgefleet_controller.web.study_page import METRICS, ChartName, StudyPage, chart_of, study_page

router = APIRouter(include_in_schema=False, default_response_class=Response)
Place = Annotated[int, Query(ge=0, le=1000)]


@router.get("/studies")
def list_studies(request: Request, page: PageQuery, session: ReadSession) -> Response:
    """Studies, newest first."""
    found = service.page_of_summaries(session, page)
    return render(
        request, "studies.html", studies=found.items, next_cursor=found.next_cursor, is_first=page.cursor is None
    )


def _view(page: StudyPage, visitor: Visitor) -> View:
    def part(name: str, *arguments: object) -> Part:
        return Part(str(render_part("study_parts.html", name, page, *arguments, True)))

    version = str(page.study.version)
    parts = {
        "state": part("state", visitor),
        "found": Part(part("found", METRICS).html, mark=version),
        "trials": Part(part("trials", METRICS).html, mark=version),
        "log": Part(part("log").html, mark=str(page.events[-1].id if page.events else 0)),
    }
    signals = {"results": str(page.n_ended), "announce": f"The study {page.study.name} is {page.study.state}"}
    return View(parts, signals, is_final=page.is_ended)


@router.get("/studies/{study_id}")
def show_study(request: Request, study_id: str, session: ReadSession) -> Response:
    """One study."""
    page = study_page(session, study_id)
    charts = {
        place: {"front": chart_of(page, place, "front"), "volume": chart_of(page, place, "volume")}
        for place, board in enumerate(page.boards)
        if "trials" in board
    }
    seen = _view(page, visitor_of(request)).digest
    return render(request, "study.html", page=page, charts=charts, metrics=METRICS, seen=seen)


@router.get("/studies/{study_id}/live")
def follow_study(
    request: Request,
    study_id: str,
    session: ReadSession,
    services: ServicesOf,
    seen: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """What changes on that page."""
    found = service.find(session, study_id)
    visitor = visitor_of(request)

    def look() -> View:
        with services.database.reading() as fresh:
            return _view(study_page(fresh, found.id), visitor)

    return stream(services, request, f"study:{found.id}", seen, look)


@router.get("/studies/{study_id}/charts/{chart}")
def show_study_chart(study_id: str, chart: ChartName, session: ReadSession, board: Place = 0) -> Response:
    """A chart of one kind of board, as the page's script reads it."""
    drawn = chart_of(study_page(session, study_id), board, chart)
    return JSONResponse(drawn.document(), headers=SECURITY_HEADERS)


@router.post("/studies/{study_id}/cancel")
def cancel_study(study_id: str, session: WriteSession) -> Response:
    """End the study."""
    return redirect(f"/studies/{service.cancel(session, study_id).id}")
