"""Models: what they are, and what an analysis found in them."""

from fastapi import APIRouter, Request, Response

from edgefleet_controller.analyses import repository as analyses
from edgefleet_controller.models import service as models
from edgefleet_controller.services import ReadSession
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)


@router.get("/models/{model_id}")
def show_model(request: Request, model_id: str, session: ReadSession) -> Response:
    """One model with the analysis that was asked for last."""
    model = models.find(session, model_id)
    analysis = analyses.newest_of_model(session, model.blob_sha256)
    return render(request, "model.html", model=model, analysis=analysis)
