"""``/v1/runs``."""

from typing import Annotated

from fastapi import APIRouter, Query

from edgefleet_controller.errors import NotFound
from edgefleet_controller.pagination import Page
from edgefleet_controller.results.checks import checks_of
from edgefleet_controller.runs import repository
from edgefleet_controller.runs.schemas import RunDetail, RunPageRequest, RunView
from edgefleet_controller.services import ReadSession

router = APIRouter(prefix="/v1", tags=["runs"])


@router.get("/runs")
def list_runs(page: Annotated[RunPageRequest, Query()], session: ReadSession) -> Page[RunView]:
    """Runs, newest first, of one job or device if asked for."""
    rows, cursor = repository.page_of_runs(session, page, page.job, page.device)
    return Page[RunView](items=[RunView.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/runs/{run_id}")
def show_run(run_id: str, session: ReadSession) -> RunDetail:
    """One run with its checks and the agent's report."""
    run = repository.find(session, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id!r}.")
    result = repository.find_result(session, run_id)
    report = result.report if result is not None else None
    return RunDetail(**RunView.model_validate(run).model_dump(), **dict(checks_of(result)), report=report)
