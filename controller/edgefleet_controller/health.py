"""``/healthz`` and ``/readyz``."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.db.migrate import current_revision_of, head_revision
from edgefleet_controller.errors import StoreUnavailable
from edgefleet_controller.services import ServicesOf

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """A sign of life."""

    status: Literal["ok"] = Field(default="ok", description="ok")


@router.get("/healthz")
def is_alive() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz")
def is_ready(services: ServicesOf) -> Health:
    """Store, schema and engine are ready; 503 with the reason otherwise."""
    try:
        revision = current_revision_of(services.database.engine)
    except SQLAlchemyError as err:
        raise StoreUnavailable from err
    if revision != head_revision():
        raise StoreUnavailable(f"The store's schema is at {revision}, this version needs {head_revision()}.")
    if not services.engine.is_ready():
        raise StoreUnavailable("The engine's store does not answer.")
    return Health()
