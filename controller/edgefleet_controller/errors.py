"""What may go wrong in the controller, and how it is said (RFC 9457 problem details).

ControllerError                  500 internal_error
├── InvalidRequest               422 invalid_request
│   ├── InvalidCursor            422 invalid_cursor
│   └── IdempotencyKeyReused     422 idempotency_key_reused
├── NotAuthenticated             401 not_authenticated
├── NotAllowed                   403 not_allowed
│   └── NotThroughProxy          403 not_through_proxy
├── NotFound                     404 not_found
├── Conflict                     409 conflict
│   ├── NameTaken                409 name_taken
│   ├── StateForbids             409 state_forbids
│   └── IdempotencyInProgress    409 idempotency_in_progress
├── VersionMismatch              412 version_mismatch
├── BodyTooLarge                 413 body_too_large
├── UpgradeRequired              426 upgrade_required
├── TooManyRequests              429 too_many_requests
└── StoreUnavailable             503 store_unavailable

What only one feature raises stands in that feature's own errors.py (``jobs.errors``, ``blobs.errors``, ...); all of it is
of one of these kinds.
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


class InvalidCursor(InvalidRequest):
    """The cursor is not one that this list gave; start again without it."""

    code = "invalid_cursor"


class IdempotencyKeyReused(InvalidRequest):
    """This Idempotency-Key was used for another request; take a new key."""

    code = "idempotency_key_reused"


class NotAuthenticated(ControllerError):
    """No valid credential was sent; send `Authorization: Bearer <token>`."""

    status, code, fault = 401, "not_authenticated", "client"


class NotAllowed(ControllerError):
    """This credential may not do that."""

    status, code = 403, "not_allowed"
    fault: Fault = "client"


class NotThroughProxy(NotAllowed):
    """This controller is reached through its proxy only; use the proxy's address."""

    code = "not_through_proxy"


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


class VersionMismatch(ControllerError):
    """It was changed by someone else since it was read; read it again."""

    status, code, fault = 412, "version_mismatch", "client"


class BodyTooLarge(ControllerError):
    """The request is longer than allowed."""

    status, code, fault = 413, "body_too_large", "client"


class UpgradeRequired(ControllerError):
    """The agent speaks an older protocol; install a newer agent."""

    status, code, fault = 426, "upgrade_required", "device"


class TooManyRequests(ControllerError):
    """Too many requests, or too many failed ones, in a short time; wait as long as Retry-After says."""

    status, code, fault, retry = 429, "too_many_requests", "client", True

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many requests, or too many failed ones; try again in {retry_after_s} s.")
        self.headers = {"Retry-After": str(retry_after_s)}


class StoreUnavailable(ControllerError):
    """The store does not answer; repeat the request later."""

    status, code, retry = 503, "store_unavailable", True
