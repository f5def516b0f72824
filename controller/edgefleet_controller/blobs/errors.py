"""What may go wrong with a file that is sent, kept or fetched.

InvalidRequest
├── BlobHashMismatch             422 blob_hash_mismatch
└── BlobMissing                  422 blob_missing
Conflict
├── UploadOffsetMismatch         409 upload_offset_mismatch
├── UploadInProgress             409 upload_in_progress
└── NotLeased                    409 not_leased
ControllerError
├── SamplesExpired               410 samples_expired
├── RangeRefused                 416 range_not_satisfiable
├── BlobDamaged                  500 blob_damaged
├── QuotaExceeded                507 quota_exceeded
│   └── ProjectQuotaExceeded     507 project_quota_exceeded
└── DiskFull                     507 disk_full
"""

from edgefleet_controller.errors import Conflict, ControllerError, InvalidRequest


class BlobHashMismatch(InvalidRequest):
    """The bytes received do not have the hash that was announced; nothing was kept, send the file again."""

    code, retry = "blob_hash_mismatch", True


class BlobMissing(InvalidRequest):
    """The file was not uploaded yet; PUT it to /v1/blobs/{sha256} first."""

    code = "blob_missing"


class UploadOffsetMismatch(Conflict):
    """The upload goes on at another byte than this; ask how much has arrived and go on from there."""

    code, retry = "upload_offset_mismatch", True


class UploadInProgress(Conflict):
    """The same upload is being received already; wait for it to end, or ask for its state in a moment."""

    code, retry = "upload_in_progress", True


class NotLeased(Conflict):
    """The device holds no run, so it has nothing to upload; drop the file."""

    code, fault = "not_leased", "device"


class SamplesExpired(ControllerError):
    """The raw samples were removed after their retention; the figures that were computed from them stay."""

    status, code, fault = 410, "samples_expired", "client"


class RangeRefused(ControllerError):
    """The range lies outside the file."""

    status, code, fault = 416, "range_not_satisfiable", "client"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The range lies outside the file, which has {size_bytes} bytes.")
        self.headers = {"Content-Range": f"bytes */{size_bytes}"}


class BlobDamaged(ControllerError):
    """A stored file is not what its name says; restore it from a backup, or upload it again."""

    code = "blob_damaged"


class QuotaExceeded(ControllerError):
    """The store has reached its quota; nothing was kept. Free some of it (edgefleet store gc) or raise EDGEFLEET_QUOTA_BYTES."""

    status, code, fault = 507, "quota_exceeded", "client"


class ProjectQuotaExceeded(QuotaExceeded):
    """What the project has sent has reached its quota; nothing was kept."""

    code = "project_quota_exceeded"

    def __init__(self, project: str, quota_bytes: int) -> None:
        super().__init__(
            f"Project {project} has reached its quota of {quota_bytes} bytes; nothing was kept. Ask a fleet administrator "
            f"for a larger one (edgefleet project quota {project} SIZE), or let its old files go (edgefleet store gc).",
            quota_bytes=quota_bytes,
        )


class DiskFull(ControllerError):
    """The controller's disk is full; nothing was kept. Free space, then repeat the request."""

    status, code, retry = 507, "disk_full", True
