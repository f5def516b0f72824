"""``/v1/results`` and ``/v1/front``."""

from typing import Annotated

from fastapi import APIRouter, Query

from edgefleet_controller.results import service
from edgefleet_controller.results.schemas import Front, FrontRequest, ResultsPage, ResultsRequest
from edgefleet_controller.services import ReadSession

router = APIRouter(prefix="/v1", tags=["results"])


@router.get("/results")
def list_results(request: Annotated[ResultsRequest, Query()], session: ReadSession) -> ResultsPage:
    """The table of a job: one row for each variant and device, with ratios to the baseline."""
    return service.page_of_rows(session, request)


@router.get("/front")
def show_front(request: Annotated[FrontRequest, Query()], session: ReadSession) -> Front:
    """The rows of a job as points of two figures, and which of them nothing beats in both."""
    return service.front_of_job(session, request)
