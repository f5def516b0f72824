"""``/v1/workers``."""

from fastapi import APIRouter

from edgefleet_controller.services import ReadSession
from edgefleet_controller.workers import repository
from edgefleet_controller.workers.schemas import Workers, WorkerView

router = APIRouter(prefix="/v1", tags=["workers"])


@router.get("/workers")
def list_workers(session: ReadSession) -> Workers:
    """Worker processes with their queues, and when they were heard of."""
    return Workers(items=[WorkerView.model_validate(row) for row in repository.all_workers(session)])
