"""``/v1/blobs/{sha256}`` and ``/agent/v1/blobs/{sha256}``."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response, status
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from edgefleet_agent.wire.messages import UploadProgress
from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.auth.caller import project_for_new_rows
from edgefleet_controller.auth.guard import DeviceId
from edgefleet_controller.blobs import service
from edgefleet_controller.blobs.delivery import send_blob
from edgefleet_controller.blobs.quota import Allowance, UploadLimit, limit_upload
from edgefleet_controller.blobs.receiving import Part, receive_blob, receive_last_part, receive_part
from edgefleet_controller.blobs.schemas import BlobView, UploadState
from edgefleet_controller.errors import StoreUnavailable
from edgefleet_controller.services import ReadSession, Services, ServicesOf

router = APIRouter(prefix="/v1", tags=["blobs"])
agent_router = APIRouter(prefix="/agent/v1", tags=["agent"])
Sha256 = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file, lower-case hex")]
RunId = Annotated[str | None, Header(description="the run the file belongs to; 409 if the device does not hold it")]
Attempt = Annotated[int | None, Header(description="the attempt of that run; 409 if it is over")]
UploadOffset = Annotated[int, Header(ge=0, description="byte of the file at which this part begins")]
UploadComplete = Annotated[bool, Header(description="whether the file ends with this part")]
PARTS: dict[int | str, dict[str, Any]] = {202: {"model": UploadState, "description": "the part is kept"}}
BINARY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {}}}}}
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the file", "content": {"application/octet-stream": {}}},
    206: {"description": "a part"},
}


@router.put("/blobs/{sha256}", response_model=BlobView, openapi_extra=BINARY)
async def upload_blob(sha256: Sha256, services: ServicesOf, request: Request, response: Response) -> BlobRef:
    """Upload a file; its hash is verified while it arrives. 201 when it is new, 200 when it was there."""
    limit = await run_in_threadpool(_limit_of_person, services, sha256)
    ref = await receive_blob(services.blobs, sha256, request.stream(), limit)
    return await _record(services, ref, response)


@router.patch("/blobs/{sha256}", response_model=UploadState | BlobView, openapi_extra=BINARY, responses=PARTS)
async def upload_part(
    sha256: Sha256,
    services: ServicesOf,
    request: Request,
    response: Response,
    upload_offset: UploadOffset,
    upload_complete: UploadComplete = False,
) -> UploadState | BlobRef:
    """Upload a file in parts, each kept when the connection or the controller ends; the last is marked complete."""
    limit = await run_in_threadpool(_limit_of_person, services, sha256)
    part = Part(sha256, _project_as_owner(), upload_offset)
    return await _receive_part(services, part, request, response, limit, is_last=upload_complete)


@router.get("/blobs/{sha256}/upload")
def read_upload(sha256: Sha256, services: ServicesOf) -> UploadProgress:
    """How much of a file that is uploaded in parts has arrived: the next part begins there."""
    return _progress(services, sha256, _project_as_owner())


@router.head("/blobs/{sha256}", include_in_schema=False)
@router.get("/blobs/{sha256}", response_class=Response, responses=FILE)
def download_blob(sha256: Sha256, session: ReadSession, services: ServicesOf, request: Request) -> Response:
    """A file of one's own projects, such as the raw samples of a run."""
    service.require_readable(session, sha256)
    return send_blob(request, sha256, service.locate(session, services.blobs, sha256))


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
    limit = await run_in_threadpool(_limit_of_device, services, sha256)
    ref = await receive_blob(services.blobs, sha256, request.stream(), limit)
    return await _record(services, ref, response)


@agent_router.patch("/blobs/{sha256}", response_model=UploadState | BlobView, openapi_extra=BINARY, responses=PARTS)
async def upload_sample_part(
    sha256: Sha256,
    device_id: DeviceId,
    services: ServicesOf,
    request: Request,
    response: Response,
    upload_offset: UploadOffset,
    upload_complete: UploadComplete = False,
    x_run_id: RunId = None,
    x_attempt: Attempt = None,
) -> UploadState | BlobRef:
    """Upload raw samples in parts, each kept when the connection or the controller ends."""
    upload = service.Upload(device_id, sha256, x_run_id, x_attempt)
    await run_in_threadpool(service.require_upload_allowed, services.database, upload)
    limit = await run_in_threadpool(_limit_of_device, services, sha256)
    part = Part(sha256, device_id, upload_offset)
    return await _receive_part(services, part, request, response, limit, is_last=upload_complete)


@agent_router.get("/blobs/{sha256}/upload")
def read_sample_upload(sha256: Sha256, device_id: DeviceId, services: ServicesOf) -> UploadProgress:
    """How much of the samples that this device uploads in parts has arrived."""
    return _progress(services, sha256, device_id)


@agent_router.head("/blobs/{sha256}", include_in_schema=False)
@agent_router.get("/blobs/{sha256}", response_class=Response, responses=FILE)
def download_assigned(
    sha256: Sha256, device_id: DeviceId, session: ReadSession, services: ServicesOf, request: Request
) -> Response:
    """A file of the run that the device holds: its artifact or its evaluation set."""
    service.require_assigned(session, device_id, sha256)
    return send_blob(request, sha256, services.blobs.path(sha256))


async def _receive_part(
    services: Services, part: Part, request: Request, response: Response, limit: UploadLimit, *, is_last: bool
) -> UploadState | BlobRef:
    if is_last:
        ref = await receive_last_part(services.blobs, part, request.stream(), limit)
        return await _record(services, ref, response)
    received_bytes = await receive_part(services.blobs, part, request.stream(), limit)
    response.status_code = status.HTTP_202_ACCEPTED
    return UploadState(sha256=part.sha256, received_bytes=received_bytes)


def _project_as_owner() -> str:
    """Whose an unfinished upload is: people of one project go on with each other's, and nobody with another project's.

    Otherwise whoever knows a hash and the last bytes could send those alone, and have the file.
    """
    return f"project {project_for_new_rows()}"


def _progress(services: Services, sha256: str, owner: str) -> UploadProgress:
    return UploadProgress(
        sha256=sha256,
        received_bytes=services.blobs.received_bytes(sha256, owner),
        is_stored=service.is_stored_for_caller(services.database, services.blobs, sha256),
    )


def _limit_of_person(services: Services, sha256: str) -> UploadLimit:
    settings = services.settings
    return limit_upload(services.database, sha256, Allowance(settings.max_blob_bytes, settings.quota_bytes))


def _limit_of_device(services: Services, sha256: str) -> UploadLimit:
    settings = services.settings
    allowance = Allowance(
        settings.max_sample_bytes, settings.quota_bytes, settings.quota_reserve_bytes, for_device=True
    )
    return limit_upload(services.database, sha256, allowance)


async def _record(services: Services, ref: BlobRef, response: Response) -> BlobRef:
    is_new = await run_in_threadpool(service.record, services.database, ref)
    if not await run_in_threadpool(services.blobs.exists, ref.sha256):
        raise StoreUnavailable("The file was collected as garbage at the instant it was stored; send it again.")
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return ref
