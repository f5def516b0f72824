"""``/v1/imports``."""

from fastapi import APIRouter, Response, status

from edgefleet_controller.imports import service
from edgefleet_controller.imports.schemas import ImportCreate, ImportView
from edgefleet_controller.services import ServicesOf

router = APIRouter(prefix="/v1", tags=["results"])


@router.post("/imports", status_code=status.HTTP_201_CREATED)
def import_profile(body: ImportCreate, services: ServicesOf, response: Response) -> ImportView:
    """Keep an uploaded profile of another tool as a result of provenance imported; 200 if it was imported before."""
    with services.database.reading() as session:
        file = service.require_file(session, body.blob_sha256)
    # no transaction is open while the file is read
    reading = service.read_profile(services.blobs, file, body.format)
    with services.database.writing() as session:
        known = service.find_import(session, body)
        job = known or service.store(session, body, reading)
        session.flush()
        imported = service.view(session, job)
    if known is not None:
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = f"/v1/jobs/{imported.job}"
    return imported
