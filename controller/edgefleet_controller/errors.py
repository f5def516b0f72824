"""What may go wrong in the controller, and how it is said (RFC 9457 problem details).

ControllerError                      500 internal_error
├── InvalidRequest                   422 invalid_request        (the request itself is wrong)
│   ├── UnknownRecipe                422 unknown_recipe
│   ├── InvalidRecipe                422 (the broken rule's code, else recipe_invalid)
│   ├── DuplicateName                422 duplicate_name
│   ├── TooManyRuns                  422 too_many_runs
│   ├── UnknownTarget                422 unknown_target
│   ├── BoardMismatch                422 board_mismatch
│   ├── UnknownDeviceNamed           422 unknown_device
│   ├── UnknownModelNamed            422 unknown_model
│   ├── UnknownArtifactNamed         422 unknown_artifact
│   ├── UnknownJobNamed              422 unknown_job
│   ├── UnknownReleaseNamed          422 unknown_release
│   ├── WheelRefused                 422 wheel_refused
│   ├── JobNeverComes                422 job_never_comes
│   ├── DeadlinePassed               422 deadline_passed
│   ├── NothingToMeasure             422 nothing_to_measure
│   ├── ArtifactNotCompiled          422 artifact_not_compiled
│   ├── RuntimeMissing               422 runtime_missing
│   ├── DeviceCannotCompare          422 device_cannot_compare
│   ├── UnknownDataSet               422 unknown_data_set
│   ├── MetricRefused                422 (task_unsupported, metric_unknown, metric_unsuitable)
│   ├── NoDevices                    422 no_devices
│   ├── DeviceKindMismatch           422 device_kind_mismatch
│   ├── InvalidCursor                422 invalid_cursor
│   ├── ProjectRequired              422 project_required
│   ├── UnknownUserNamed             422 unknown_user
│   ├── PasswordRefused              422 password_refused
│   ├── DeviceKeyRefused             422 device_key_refused
│   ├── UnknownAxis                  422 unknown_axis
│   ├── ProvenanceMixed              422 provenance_mixed
│   ├── BlobHashMismatch             422 blob_hash_mismatch
│   ├── BlobMissing                  422 blob_missing
│   ├── ModelRefused                 422 (the inspection's code)
│   └── IdempotencyKeyReused         422 idempotency_key_reused
├── NotAuthenticated                 401 not_authenticated
│   └── JoinTokenRefused             401 join_token_refused
├── NotAllowed                       403 not_allowed
│   ├── ForeignOrigin                403 foreign_origin
│   ├── JoinTokenMismatch            403 join_token_mismatch
│   └── NotThroughProxy              403 not_through_proxy
├── NotFound                         404 not_found
├── Conflict                         409 conflict
│   ├── NameTaken                    409 name_taken
│   ├── StateForbids                 409 state_forbids
│   ├── IdempotencyInProgress        409 idempotency_in_progress
│   ├── UploadOffsetMismatch         409 upload_offset_mismatch
│   ├── UploadInProgress             409 upload_in_progress
│   ├── StaleAttempt                 409 stale_attempt
│   └── NotLeased                    409 not_leased
├── SamplesExpired                   410 samples_expired
├── VersionMismatch                  412 version_mismatch
├── BodyTooLarge                     413 body_too_large
├── RangeRefused                     416 range_not_satisfiable
├── ReportRefused                    422 report_refused         (fault: device)
│   ├── ProvenanceMismatch           422 provenance_mismatch
│   ├── ArtifactMismatch             422 artifact_mismatch
│   ├── SamplesMissing               422 samples_missing
│   ├── SamplesInvalid               422 samples_invalid
│   └── SamplesDisagree              422 samples_disagree
├── UpgradeRequired                  426 upgrade_required
├── TooManyRequests                  429 too_many_requests
├── InspectionFailed                 503 inspection_failed
├── StoreUnavailable                 503 store_unavailable
├── BlobDamaged                      500 blob_damaged
├── QuotaExceeded                    507 quota_exceeded
└── DiskFull                         507 disk_full
"""

from typing import Any, Literal

Fault = Literal["client", "server", "device"]


class ControllerError(Exception):
    """The controller failed; its log says why. Repeat the request later."""

    status: int = 500
    code: str = "internal_error"
    fault: Fault = "server"
    retry: bool = False

    def __init__(self, message: str | None = None, **extra: Any) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.extra = extra
        self.headers: dict[str, str] = {}
        super().__init__(self.message)


class InvalidRequest(ControllerError):
    """The request is not valid; correct the fields that `errors` lists."""

    status, code = 422, "invalid_request"
    fault: Fault = "client"


class UnknownRecipe(InvalidRequest):
    """No preset has this name; the message lists the presets."""

    code = "unknown_recipe"


class InvalidRecipe(InvalidRequest):
    """The recipe has an unknown field or an impossible order of passes."""

    code = "recipe_invalid"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class DuplicateName(InvalidRequest):
    """Two recipes have the same name; rename one, the rows of the result are told apart by it."""

    code = "duplicate_name"


class TooManyRuns(InvalidRequest):
    """The job asks for more runs than one job may have; split it."""

    code = "too_many_runs"


class UnknownTarget(InvalidRequest):
    """No compiler makes artifacts for this target; the message lists the targets."""

    code = "unknown_target"


class BoardMismatch(InvalidRequest):
    """None of the job's devices is of a board that the target runs on; choose another target or other devices."""

    code = "board_mismatch"


class NothingToCompile(InvalidRequest):
    """No recipe of the job can become an artifact of any of its targets; ``refusals`` says why, for each pair."""

    code = "nothing_to_compile"


class UnknownDeviceNamed(InvalidRequest):
    """No device has this name or identifier; list them with `edgefleet device ls`."""

    code = "unknown_device"


class UnknownModelNamed(InvalidRequest):
    """No model has this name or identifier; list them with `edgefleet model ls`."""

    code = "unknown_model"


class UnknownArtifactNamed(InvalidRequest):
    """No artifact has this hash, or the job has no such variant; list a job's artifacts with `edgefleet results`."""

    code = "unknown_artifact"


class UnknownJobNamed(InvalidRequest):
    """No job has this identifier; list them with `edgefleet job ls`."""

    code = "unknown_job"


class UnknownReleaseNamed(InvalidRequest):
    """No release of the agent has this version or identifier; register its wheel with POST /v1/agent-releases."""

    code = "unknown_release"


class WheelRefused(InvalidRequest):
    """The file is no wheel of edgefleet-agent; build one with `python -m build --wheel` in the folder `agent`."""

    code = "wheel_refused"


class JobNeverComes(InvalidRequest):
    """A job that this one is to wait for has failed or was cancelled; name another one, or none."""

    code = "job_never_comes"


class DeadlinePassed(InvalidRequest):
    """The deadline is not in the future; name a later one."""

    code = "deadline_passed"


class NothingToMeasure(InvalidRequest):
    """The job has no artifact: nothing of it was compiled; submit it again."""

    code = "nothing_to_measure"


class ArtifactNotCompiled(InvalidRequest):
    """The variant has no artifact: it was not compiled yet, or could not be; see `edgefleet job show`."""

    code = "artifact_not_compiled"


class RuntimeMissing(InvalidRequest):
    """The device does not have the runtime that an artifact needs; choose another device, or install it there."""

    code = "runtime_missing"


class DeviceCannotCompare(InvalidRequest):
    """Only physical devices compare latencies; choose one."""

    code = "device_cannot_compare"


class UnknownDataSet(InvalidRequest):
    """No packaged data set has this name, or its file was not uploaded."""

    code = "unknown_data_set"


class MetricRefused(InvalidRequest):
    """The task is not supported, or the metric says nothing of this model."""

    code = "task_unsupported"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class NoDevices(InvalidRequest):
    """No active device could measure this job; enrol one, or release a held one."""

    code = "no_devices"


class DeviceKindMismatch(InvalidRequest):
    """The agent is of another kind (physical, simulated) than its device was registered as."""

    code = "device_kind_mismatch"


class InvalidCursor(InvalidRequest):
    """The cursor is not one that this list gave; start again without it."""

    code = "invalid_cursor"


class ProjectRequired(InvalidRequest):
    """You have a role in several projects: say which one with the header X-Edgefleet-Project or --project."""

    code = "project_required"


class UnknownUserNamed(InvalidRequest):
    """No user has this name or identifier; list them with `edgefleet user ls`."""

    code = "unknown_user"


class PasswordRefused(InvalidRequest):
    """The password is too short, too long, or the present one is not right."""

    code = "password_refused"


class DeviceKeyRefused(InvalidRequest):
    """The device does not prove that it holds its key: a key or signature is missing, malformed or wrong."""

    code, fault = "device_key_refused", "device"


class UnknownAxis(InvalidRequest):
    """The front has no such axis; the message lists the axes."""

    code = "unknown_axis"


class ProvenanceMixed(InvalidRequest):
    """Measured and other figures do not belong in one front; ask for one provenance."""

    code = "provenance_mixed"


class BlobHashMismatch(InvalidRequest):
    """The bytes received do not have the hash that was announced; nothing was kept, send the file again."""

    code, retry = "blob_hash_mismatch", True


class BlobMissing(InvalidRequest):
    """The file was not uploaded yet; PUT it to /v1/blobs/{sha256} first."""

    code = "blob_missing"


class ModelRefused(InvalidRequest):
    """The file is not a model that edgefleet can read."""

    code = "model_refused"

    def __init__(self, code: str, message: str, **extra: Any) -> None:
        super().__init__(message, **extra)
        self.code = code


class IdempotencyKeyReused(InvalidRequest):
    """This Idempotency-Key was used for another request; take a new key."""

    code = "idempotency_key_reused"


class NotAuthenticated(ControllerError):
    """No valid credential was sent; send `Authorization: Bearer <token>`."""

    status, code, fault = 401, "not_authenticated", "client"


class JoinTokenRefused(NotAuthenticated):
    """The join token is unknown, used or expired; ask for a new one."""

    code = "join_token_refused"


class NotAllowed(ControllerError):
    """This credential may not do that."""

    status, code = 403, "not_allowed"
    fault: Fault = "client"


class ForeignOrigin(NotAllowed):
    """A change asked for with a cookie must come from this site's own pages."""

    code = "foreign_origin"


class NotThroughProxy(NotAllowed):
    """This controller is reached through its proxy only; use the proxy's address."""

    code = "not_through_proxy"


class JoinTokenMismatch(NotAllowed):
    """The join token is for another kind of board or another serial number; nothing was used up."""

    code, fault = "join_token_mismatch", "device"


class NotFound(ControllerError):
    """There is no such thing here, or it is not yours."""

    status, code, fault = 404, "not_found", "client"


class Conflict(ControllerError):
    """The present state does not allow that."""

    status, code = 409, "conflict"
    fault: Fault = "client"


class NameTaken(Conflict):
    """Another one has this name already; choose another name."""

    code = "name_taken"


class StateForbids(Conflict):
    """The thing is in a state that does not allow this."""

    code = "state_forbids"


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key is still being answered; repeat it in a moment."""

    code, retry = "idempotency_in_progress", True


class UploadOffsetMismatch(Conflict):
    """The upload goes on at another byte than this; ask how much has arrived and go on from there."""

    code, retry = "upload_offset_mismatch", True


class UploadInProgress(Conflict):
    """The same upload is being received already; wait for it to end, or ask for its state in a moment."""

    code, retry = "upload_in_progress", True


class StaleAttempt(Conflict):
    """The lease of this attempt has ended; drop the run, its figures are no longer wanted."""

    code, fault = "stale_attempt", "device"


class NotLeased(Conflict):
    """The device holds no run, so it has nothing to upload; drop the file."""

    code, fault = "not_leased", "device"


class SamplesExpired(ControllerError):
    """The raw samples were removed after their retention; the figures that were computed from them stay."""

    status, code, fault = 410, "samples_expired", "client"


class VersionMismatch(ControllerError):
    """It was changed by someone else since it was read; read it again."""

    status, code, fault = 412, "version_mismatch", "client"


class BodyTooLarge(ControllerError):
    """The request is longer than allowed."""

    status, code, fault = 413, "body_too_large", "client"


class RangeRefused(ControllerError):
    """The range lies outside the file."""

    status, code, fault = 416, "range_not_satisfiable", "client"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The range lies outside the file, which has {size_bytes} bytes.")
        self.headers = {"Content-Range": f"bytes */{size_bytes}"}


class ReportRefused(ControllerError):
    """The report is not acceptable; the run has failed for this reason."""

    status, code, fault = 422, "report_refused", "device"


class ProvenanceMismatch(ReportRefused):
    """The report's provenance is not the one that devices of this kind produce."""

    code = "provenance_mismatch"


class ArtifactMismatch(ReportRefused):
    """The report is about another file than the one ordered."""

    code = "artifact_mismatch"


class SamplesMissing(ReportRefused):
    """The report names raw samples that were not uploaded; upload them, then report again."""

    code, retry = "samples_missing", True


class SamplesInvalid(ReportRefused):
    """The raw latency samples cannot be read."""

    code = "samples_invalid"


class SamplesDisagree(ReportRefused):
    """The reported percentiles are not those of the raw samples."""

    code = "samples_disagree"


class UpgradeRequired(ControllerError):
    """The agent speaks an older protocol; install a newer agent."""

    status, code, fault = 426, "upgrade_required", "device"


class TooManyRequests(ControllerError):
    """Too many requests, or too many failed ones, in a short time; wait as long as Retry-After says."""

    status, code, fault, retry = 429, "too_many_requests", "client", True

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many requests, or too many failed ones; try again in {retry_after_s} s.")
        self.headers = {"Retry-After": str(retry_after_s)}


class InspectionFailed(ControllerError):
    """The inspection of the model ended without an answer; it was stopped for time or memory, or it crashed."""

    status, code = 503, "inspection_failed"


class StoreUnavailable(ControllerError):
    """The store does not answer; repeat the request later."""

    status, code, retry = 503, "store_unavailable", True


class BlobDamaged(ControllerError):
    """A stored file is not what its name says; restore it from a backup, or upload it again."""

    code = "blob_damaged"


class QuotaExceeded(ControllerError):
    """The store has reached its quota; nothing was kept. Free some of it (edgefleet store gc) or raise EDGEFLEET_QUOTA_BYTES."""

    status, code, fault = 507, "quota_exceeded", "client"


class DiskFull(ControllerError):
    """The controller's disk is full; nothing was kept. Free space, then repeat the request."""

    status, code, retry = 507, "disk_full", True
