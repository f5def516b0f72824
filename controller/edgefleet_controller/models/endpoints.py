"""``/v1/models``."""

from fastapi import APIRouter, Response, status

from edgefleet_controller.models import repository, service
from edgefleet_controller.models.schemas import ModelCreate, ModelView
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf

router = APIRouter(prefix="/v1", tags=["models"])


@router.post("/models", status_code=status.HTTP_201_CREATED)
def create_model(body: ModelCreate, services: ServicesOf, response: Response) -> ModelView:
    """Register an uploaded file as a model; it is inspected in a limited child process first."""
    with services.database.reading() as session:
        service.require_files(session, body)
    # no transaction is open while the child works, which may take a minute
    facts = services.inspector.inspect(services.blobs.path(body.blob_sha256))
    with services.database.writing() as session:
        model = service.register(session, body, facts)
    response.headers["Location"] = f"/v1/models/{model.id}"
    return ModelView.model_validate(model)


@router.get("/models")
def list_models(page: PageQuery, session: ReadSession) -> Page[ModelView]:
    """Models, newest first."""
    rows, cursor = repository.page_of_models(session, page)
    return Page[ModelView](items=[ModelView.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/models/{model_id}")
def show_model(model_id: str, session: ReadSession) -> ModelView:
    """One model, by identifier or name (the newest of that name)."""
    return ModelView.model_validate(service.find(session, model_id))
