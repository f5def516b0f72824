"""``/v1/artifacts/{sha256}``."""

from fastapi import APIRouter, Request, Response

from edgefleet_controller.artifacts import service
from edgefleet_controller.blobs.delivery import send_blob
from edgefleet_controller.blobs.endpoints import FILE, Sha256
from edgefleet_controller.services import ReadSession, ServicesOf
from edgefleet_deploy.manifest import ArtifactManifest

router = APIRouter(prefix="/v1", tags=["artifacts"])


@router.head("/artifacts/{sha256}", include_in_schema=False)
@router.get("/artifacts/{sha256}", response_class=Response, responses=FILE)
def download_artifact(sha256: Sha256, session: ReadSession, services: ServicesOf, request: Request) -> Response:
    """A compiled file; ETag, Range, If-Range and If-None-Match are understood."""
    return send_blob(request, sha256, service.locate(session, sha256, services.blobs))


@router.get("/artifacts/{sha256}/manifest")
def read_manifest(sha256: Sha256, session: ReadSession) -> ArtifactManifest:
    """What the file is, what made it, and how it was checked."""
    return service.manifest(session, sha256)
