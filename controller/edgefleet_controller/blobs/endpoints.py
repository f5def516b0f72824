"""``/v1/blobs/{sha256}`` and ``/agent/v1/blobs/{sha256}``."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response, status
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.auth.guard import DeviceId
from edgefleet_controller.blobs import service
from edgefleet_controller.blobs.delivery import send_blob
from edgefleet_controller.blobs.receiving import receive_blob
from edgefleet_controller.blobs.schemas import BlobView
from edgefleet_controller.services import ReadSession, Services, ServicesOf

router = APIRouter(prefix="/v1", tags=["blobs"])
agent_router = APIRouter(prefix="/agent/v1", tags=["agent"])
Sha256 = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file, lower-case hex")]
RunId = Annotated[str | None, Header(description="the run the file belongs to; 409 if the device does not hold it")]
Attempt = Annotated[int | None, Header(description="the attempt of that run; 409 if it is over")]
BINARY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {}}}}}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the file", "content": {"application/octet-stream": {}}},
    206: {"description": "a part"},
}


@router.put("/blobs/{sha256}", response_model=BlobView, openapi_extra=BINARY)
async def upload_blob(sha256: Sha256, services: ServicesOf, request: Request, response: Response) -> BlobRef:
    """Upload a file; its hash is verified while it arrives. 201 when it is new, 200 when it was there."""
    ref = await receive_blob(services.blobs, sha256, request.stream(), services.settings.max_blob_bytes)
    return await _record(services, ref, response)


@router.head("/blobs/{sha256}", include_in_schema=False)
@router.get("/blobs/{sha256}", response_class=Response, responses=FILE)
def download_blob(sha256: Sha256, session: ReadSession, services: ServicesOf, request: Request) -> Response:
    """A file of one's own projects, such as the raw samples of a run."""
    service.require_readable(session, sha256)
    return send_blob(request, sha256, services.blobs.path(sha256))


@agent_router.put("/blobs/{sha256}", response_model=BlobView, openapi_extra=BINARY)
async def upload_sample(
    sha256: Sha256,
    device_id: DeviceId,
    services: ServicesOf,
    request: Request,
    response: Response,
    x_run_id: RunId = None,
    x_attempt: Attempt = None,
) -> BlobRef:
    """Upload raw samples of the run that the device holds."""
    upload = service.Upload(device_id, sha256, x_run_id, x_attempt)
    await run_in_threadpool(service.require_upload_allowed, services.database, upload)
    ref = await receive_blob(services.blobs, sha256, request.stream(), services.settings.max_sample_bytes)
    return await _record(services, ref, response)


@agent_router.head("/blobs/{sha256}", include_in_schema=False)
@agent_router.get("/blobs/{sha256}", response_class=Response, responses=FILE)
def download_assigned(
    sha256: Sha256, device_id: DeviceId, session: ReadSession, services: ServicesOf, request: Request
) -> Response:
    """A file of the run that the device holds: its artifact or its evaluation set."""
    service.require_assigned(session, device_id, sha256)
    return send_blob(request, sha256, services.blobs.path(sha256))


async def _record(services: Services, ref: BlobRef, response: Response) -> BlobRef:
    is_new = await run_in_threadpool(service.record, services.database, ref)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return ref
