"""HTTP to the controller: one method per endpoint of ``/agent/v1``, every trouble a coded error, retries as values."""

import logging
import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from edgefleet_agent.errors import (
    ControllerError,
    CredentialRefused,
    RequestRefused,
    SettingsInvalid,
    StaleAttempt,
    Unreachable,
    UpgradeNeeded,
)
from edgefleet_agent.settings import AGENT_VERSION, AgentSettings
from edgefleet_agent.wire.messages import (
    ClaimRequest,
    ClaimResponse,
    EnrolRequest,
    EnrolResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ReportRequest,
    ReportResponse,
    RotateRequest,
    RotateResponse,
    SigningKeys,
    UploadProgress,
)
from edgefleet_agent.wire.updates import OFFER_HEADER, UpdateOffer, UpdateOutcome

log = logging.getLogger(__name__)

NO_CONTENT, PARTIAL_CONTENT = 204, 206
UNAUTHORIZED, NOT_FOUND, METHOD_NOT_ALLOWED = 401, 404, 405
CONFLICT, RANGE_REFUSED, UPGRADE_REQUIRED = 409, 416, 426
TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses worth another try whatever the body says: time-outs, rate limits, server trouble (RFC 9110, RFC 6585)."""

CLAIM_MARGIN_S = 15.0
"""The controller may take this much longer than the wait it was asked for."""

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off with full jitter (Brooker, Exponential backoff and jitter, AWS architecture blog 2015)."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def delay_s(self, n_failures: int, error: Unreachable, rng: random.Random) -> float:
        """Seconds to wait after the n-th failure in a row (n >= 1); never less than the controller asked for."""
        ceiling = min(self.cap_s, self.base_s * 2.0 ** min(n_failures - 1, 30))
        return max(rng.uniform(0.0, ceiling), error.retry_after_s or 0.0)


class Download(NamedTuple):
    """A running download: the offset it really starts at, and the bytes from there on."""

    offset: int
    chunks: Iterator[bytes]


class Part(NamedTuple):
    """A stretch of a file: where it begins, its bytes, and whether the file ends with it."""

    offset: int
    content: bytes
    is_last: bool


def open_http(settings: AgentSettings) -> httpx.Client:
    """Connections to the settings' controller. With a ``ca_file``, that authority alone is trusted."""
    address = settings.controller or ""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as err:
        raise SettingsInvalid("ca_file {} can't be used ({}); name a PEM file".format(settings.ca_file, err)) from err
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        log.warning("%s is not encrypted: credentials and results can be read on the way", address)
    return httpx.Client(base_url=address, verify=context)


class ControllerClient:
    """Speaks ``/agent/v1`` on an httpx client whose base address is the controller."""

    def __init__(self, http: httpx.Client, credential: Optional[str] = None, timeout_s: float = 30.0) -> None:
        self._http, self._credential, self._timeout_s = http, credential, timeout_s
        self.is_update_offered = False
        """what the answer to the last claim said"""

    def with_credential(self, credential: str) -> "ControllerClient":
        """The same client with an identity."""
        return ControllerClient(self._http, credential, self._timeout_s)

    def enrol(self, request: EnrolRequest) -> EnrolResponse:
        """Trade the join token for an identity."""
        with _conflict_refuses():
            return _parse(EnrolResponse, self._post("enrol", request))

    def signing_keys(self) -> SigningKeys:
        """The keys that the controller signs orders with."""
        response = self._request("GET", "/agent/v1/signing-keys", content=None, headers={})
        return _parse(SigningKeys, response)

    def rotate(self, request: RotateRequest) -> RotateResponse:
        """Trade the present credential for a new one."""
        with _conflict_refuses():
            return _parse(RotateResponse, self._post("rotate", request))

    def claim(self, request: ClaimRequest) -> Optional[ClaimResponse]:
        """Wait for work; None when there is nothing to do; Unreachable when the controller asks to come back later."""
        with _conflict_refuses():
            response = self._post("claim", request, timeout_s=request.wait_s + CLAIM_MARGIN_S)
        self.is_update_offered = OFFER_HEADER in response.headers
        if response.status_code != NO_CONTENT:
            return _parse(ClaimResponse, response)
        later_s = _seconds(response.headers.get("Retry-After"))
        if later_s is not None:
            raise Unreachable("the controller has more waiting boards than it holds", later_s, NO_CONTENT)
        return None

    def take_update(self, nonce: str) -> UpdateOffer:
        """The version of the agent that this board is to install; RequestRefused where there is none."""
        path = "/agent/v1/update?nonce=" + nonce
        return _parse(UpdateOffer, self._request("GET", path, content=None, headers={}))

    def report_update(self, outcome: UpdateOutcome) -> None:
        """Say that a version was not taken, or was dropped."""
        self._post("update", outcome)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatResponse:
        """Extend the lease of a run."""
        return _parse(HeartbeatResponse, self._post("heartbeat", request))

    def report(self, request: ReportRequest) -> ReportResponse:
        """Hand in the end of a run; sending it twice does no harm."""
        return _parse(ReportResponse, self._post("report", request))

    def upload_blob(self, sha256: str, content: bytes, *, run_id: str, attempt: int) -> None:
        """Store raw samples of a run."""
        headers = {"X-Run-Id": run_id, "X-Attempt": str(attempt), "Content-Type": "application/octet-stream"}
        self._request("PUT", "/agent/v1/blobs/" + sha256, content=content, headers=headers)

    def upload_state(self, sha256: str) -> Optional[UploadProgress]:
        """How much of a file has arrived; None from a controller of before uploads in parts."""
        path = "/agent/v1/blobs/{}/upload".format(sha256)
        try:
            return _parse(UploadProgress, self._request("GET", path, content=None, headers={}))
        except RequestRefused as err:
            if err.status in (NOT_FOUND, METHOD_NOT_ALLOWED):
                return None
            raise

    def upload_part(self, sha256: str, part: Part, *, run_id: str, attempt: int) -> None:
        """Add a part to the raw samples of a run; Unreachable where the file does not go on at its offset."""
        headers = {
            "X-Run-Id": run_id,
            "X-Attempt": str(attempt),
            "Content-Type": "application/octet-stream",
            "Upload-Offset": str(part.offset),
            "Upload-Complete": "true" if part.is_last else "false",
        }
        self._request("PATCH", "/agent/v1/blobs/" + sha256, content=part.content, headers=headers)

    @contextmanager
    def download(self, sha256: str, offset: int) -> Iterator[Download]:
        """Fetch a blob from ``offset`` on; the controller may begin at 0 all the same."""
        headers = {**self._headers(), "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = "bytes={}-".format(offset)
        path = "/agent/v1/blobs/" + sha256
        with _transport_errors(), self._http.stream("GET", path, headers=headers, timeout=self._timeout_s) as response:
            if response.status_code == RANGE_REFUSED:
                yield Download(0, iter(()))
                return
            _check(response)
            start = offset if response.status_code == PARTIAL_CONTENT else 0
            yield Download(start, response.iter_bytes())

    def _post(self, name: str, message: BaseModel, timeout_s: Optional[float] = None) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        return self._request(
            "POST", "/agent/v1/" + name, content=message.model_dump_json(), headers=headers, timeout_s=timeout_s
        )

    def _request(
        self, method: str, path: str, *, content: Any, headers: dict[str, str], timeout_s: Optional[float] = None
    ) -> httpx.Response:
        merged = {**self._headers(), **headers}
        with _transport_errors():
            response = self._http.request(
                method, path, content=content, headers=merged, timeout=timeout_s or self._timeout_s
            )
        _check(response)
        return response

    def _headers(self) -> dict[str, str]:
        own = {"User-Agent": "edgefleet-agent/" + AGENT_VERSION}
        return {**own, "Authorization": "Bearer " + self._credential} if self._credential else own


@contextmanager
def _conflict_refuses() -> Iterator[None]:
    """A 409 where no run is concerned, such as a name that is taken, refuses the request."""
    try:
        yield
    except StaleAttempt as err:
        raise RequestRefused("conflict", str(err), CONFLICT) from err


@contextmanager
def _transport_errors() -> Iterator[None]:
    """Network trouble as Unreachable; an address that can't be right as RequestRefused."""
    try:
        yield
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as err:
        raise RequestRefused(
            "bad_address", "{}; give the controller's address as http://host:port".format(err), 0
        ) from err
    except httpx.HTTPError as err:
        raise Unreachable("{}: {}".format(type(err).__name__, err)) from err


def _check(response: httpx.Response) -> None:
    """Raise the coded error of an answer that is none."""
    if response.is_success:
        return
    response.read()
    raise _error_of(response.status_code, _problem(response), response.headers.get("Retry-After"))


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The RFC 9457 problem document, or an empty one."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _error_of(status: int, problem: dict[str, Any], retry_after: Optional[str]) -> ControllerError:
    code = str(problem.get("code") or "http_{}".format(status))
    message = str(problem.get("detail") or problem.get("title") or "the controller answered {}".format(status))
    message += _field_problems(problem.get("errors"))
    if status == UNAUTHORIZED:
        return CredentialRefused("{} ({}); ask for a new join token and enrol again".format(message, code))
    if status == UPGRADE_REQUIRED:
        return UpgradeNeeded("{} ({}); upgrade edgefleet-agent on this board".format(message, code))
    if status == CONFLICT and problem.get("retry") is not True:  # else of an upload in parts, which goes on elsewhere
        return StaleAttempt("{} ({})".format(message, code))
    if status in TRY_LATER or problem.get("retry") is True:
        return Unreachable("{} ({})".format(message, code), _seconds(retry_after), status)
    return RequestRefused(code, message, status)


def _field_problems(errors: object) -> str:
    """The fields that the controller names, such as those of a newer agent that it does not know."""
    if not isinstance(errors, list) or not errors:
        return ""
    named = [item for item in errors if isinstance(item, dict)]
    return " ({})".format("; ".join("{}: {}".format(item.get("field"), item.get("message")) for item in named))


def _seconds(retry_after: Optional[str]) -> Optional[float]:
    """Retry-After in seconds; its date form needs a right wall clock, which a board may not have."""
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None


def _parse(model: type[Answer], response: httpx.Response) -> Answer:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as err:
        raise RequestRefused(
            "bad_answer",
            "the controller's answer is no {} ({} problems); does its address point at an edgefleet controller of this "
            "version?".format(model.__name__, err.error_count()),
            response.status_code,
        ) from err
