"""``/metrics``."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from edgefleet_controller.observability.scraping import registry_of
from edgefleet_controller.services import ServicesOf

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def show_metrics(services: ServicesOf) -> Response:
    """Metrics of this process in Prometheus' text format; a viewer's token, or a request from the host itself."""
    return Response(generate_latest(registry_of(services)), media_type=CONTENT_TYPE_LATEST)
