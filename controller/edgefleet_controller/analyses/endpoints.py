"""``/v1/models/{model_id}/analysis`` and ``/v1/analyses``."""

from fastapi import APIRouter, Response, status

from edgefleet_controller.analyses import service
from edgefleet_controller.analyses.analyst import QUEUED
from edgefleet_controller.analyses.long_poll import wait_for_analysis
from edgefleet_controller.analyses.schemas import AnalysisCreate, AnalysisView
from edgefleet_controller.jobs.endpoints import Wait
from edgefleet_controller.services import ReadSession, ServicesOf

router = APIRouter(prefix="/v1", tags=["models"])


@router.post(
    "/models/{model_id}/analysis",
    status_code=status.HTTP_202_ACCEPTED,
    responses={status.HTTP_200_OK: {"model": AnalysisView, "description": "it was made before"}},
)
def request_analysis(model_id: str, body: AnalysisCreate, services: ServicesOf, response: Response) -> AnalysisView:
    """Look at a model before compression. The same file, data and options are looked at once: a repeat attaches to it."""
    with services.database.writing() as session:
        found = AnalysisView.model_validate(service.request(session, model_id, body))
    response.headers["Location"] = f"/v1/analyses/{found.id}"
    if found.state not in service.UNENDED:
        response.status_code = status.HTTP_200_OK
        return found
    response.headers["Retry-After"] = "1"
    services.wakeups.notify(QUEUED)
    return found


@router.get("/models/{model_id}/analysis")
def show_model_analysis(model_id: str, session: ReadSession) -> AnalysisView:
    """The analysis of the model that was asked for last."""
    return AnalysisView.model_validate(service.find_of_model(session, model_id))


@router.get("/analyses/{analysis_id}")
async def show_analysis(analysis_id: str, services: ServicesOf, wait: Wait = 0) -> AnalysisView:
    """One analysis; with `wait` the answer is held until it has ended."""
    return await wait_for_analysis(services, analysis_id, wait)


@router.post("/analyses/{analysis_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel_analysis(analysis_id: str, services: ServicesOf) -> AnalysisView:
    """End a waiting or running analysis; its child process is stopped within seconds."""
    with services.database.writing() as session:
        found = AnalysisView.model_validate(service.cancel(session, analysis_id))
    services.wakeups.notify(f"analysis:{analysis_id}")
    return found
