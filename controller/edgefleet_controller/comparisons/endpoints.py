"""``/v1/comparisons``."""

from fastapi import APIRouter, Response, status

from edgefleet_controller.comparisons import service
from edgefleet_controller.comparisons.long_poll import wait_for_comparison
from edgefleet_controller.comparisons.schemas import ComparisonCreate, ComparisonView
from edgefleet_controller.jobs.endpoints import IdempotencyKey, Wait
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession

router = APIRouter(prefix="/v1", tags=["comparisons"])


@router.post("/comparisons", status_code=status.HTTP_202_ACCEPTED)
def create_comparison(
    body: ComparisonCreate, session: WriteSession, response: Response, idempotency_key: IdempotencyKey = None
) -> ComparisonView:
    """Compare two artifacts in turns on each device, or count how often a device calls one different from itself."""
    submission = service.submit(session, body, idempotency_key)
    response.headers["Location"] = f"/v1/comparisons/{submission.comparison.id}"
    response.headers["Retry-After"] = "1"
    if submission.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return submission.comparison


@router.get("/comparisons")
def list_comparisons(page: PageQuery, session: ReadSession) -> Page[ComparisonView]:
    """Comparisons without the conditions of their runs, newest first."""
    return service.page_of_views(session, page)


@router.get("/comparisons/{comparison_id}")
async def show_comparison(comparison_id: str, services: ServicesOf, wait: Wait = 0) -> ComparisonView:
    """One comparison with ratio, interval, verdict and conditions of each device; with `wait` held until it ends."""
    return await wait_for_comparison(services, comparison_id, wait)


@router.post("/comparisons/{comparison_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel_comparison(comparison_id: str, session: WriteSession) -> ComparisonView:
    """Drop the comparison's queued runs and ask the devices that hold others to stop."""
    return service.view(session, service.cancel(session, comparison_id))
