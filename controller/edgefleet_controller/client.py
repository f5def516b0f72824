"""The Python client of the controller's API, and all that the command line uses.

    client = Client("http://127.0.0.1:8470", token="eot_...")
    model = client.add_model(Path("mine.onnx"), data=Path("mine.npz"))
    job = client.submit_job(model["id"], recipes=["baseline", "int8"])
    job = client.wait_for_job(job["id"])
    rows = client.results(job["id"])

Reads and uploads are repeated after a lost connection; a job is submitted with an idempotency key, so that a repeat
cannot start it twice.
"""

import hashlib
import json
import os
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from edgefleet_controller.client_administration import AdministrationCalls

JsonObject = dict[str, Any]

TERMINAL_JOB_STATES = frozenset({"completed", "failed", "cancelled"})
GENERATED_DATA = frozenset({"keywords"})
"""Names of synthetic data sets; any other name is that of a packaged one."""
WAIT_S = 20.0
"""How long one ``?wait=`` request is held open."""

ANALYSIS_LOOK_S = 2.0
"""How often the progress of an analysis is looked at."""

ATTEMPTS = 5
BACKOFF_S = 0.3
CHUNK_BYTES = 1024 * 1024
IN_PARTS_BYTES = 8 * CHUNK_BYTES
"""Length from which an upload that broke off is worth going on with."""


class ClientError(Exception):
    """A request did not succeed; ``code`` is stable, the message says what to do next."""

    def __init__(
        self, code: str, message: str, *, status: int | None = None, problem: JsonObject | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.problem = problem or {}


class ControllerUnreachable(ClientError):
    """No controller answered at this address."""

    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(
            "controller_unreachable",
            f"no controller answers at {url} ({str(cause) or type(cause).__name__}); "
            "start one with 'edgefleet serve' or name another with --url",
        )


class Client(AdministrationCalls):
    """A connection to one controller; usable as a context manager."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        project: str | None = None,
        ca_file: Path | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """``project``: where to work, for those who have several; ``ca_file``: the only authority to trust, PEM."""
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}", **({"X-Edgefleet-Project": project} if project else {})},
            verify=ssl.create_default_context(cafile=ca_file) if ca_file is not None else True,
            timeout=httpx.Timeout(60.0, connect=5.0),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # devices

    def add_device(
        self, name: str, board: str, labels: Mapping[str, str] | None = None, *, kind: str = "physical"
    ) -> JsonObject:
        """Register a board, or what stands in for one; the answer holds its one-time join token."""
        body = {"name": name, "board": board, "labels": dict(labels or {}), "kind": kind}
        return self._send("POST", "/v1/devices", body)

    def devices(self) -> list[JsonObject]:
        """All devices, newest last."""
        return list(self._pages("/v1/devices"))

    def device(self, reference: str) -> JsonObject:
        """One device by identifier or name."""
        return self._read(f"/v1/devices/{reference}")

    def hold_device(self, reference: str, reason: str | None = None, for_s: float | None = None) -> JsonObject:
        """Keep a device free of new runs, until it is released or for so many seconds."""
        return self._send("POST", f"/v1/devices/{reference}/hold", {"reason": reason, "for_s": for_s})

    def drain_device(self, reference: str, reason: str | None = None) -> JsonObject:
        """Let a device finish its run and take no more."""
        return self._send("POST", f"/v1/devices/{reference}/drain", {"reason": reason})

    def patch_device(self, reference: str, changes: Mapping[str, object]) -> JsonObject:
        """Change labels, cool-down, windows, or whether the device is reserved."""
        return self._send("PATCH", f"/v1/devices/{reference}", dict(changes))

    def device_runs(self, device_id: str) -> list[JsonObject]:
        """The newest runs of a device."""
        return list(self._read("/v1/runs", {"device": device_id, "limit": 50})["items"])

    def release_device(self, reference: str) -> JsonObject:
        """End a hold."""
        return self._send("POST", f"/v1/devices/{reference}/release", {})

    def revoke_device(self, reference: str) -> JsonObject:
        """Refuse the device's credential from now on."""
        return self._send("POST", f"/v1/devices/{reference}/revoke", {})

    def accept_device(self, reference: str) -> JsonObject:
        """Let a board that waits to be accepted have runs."""
        return self._send("POST", f"/v1/devices/{reference}/accept", {})

    def create_join_token(self, device: str | None = None, **bounds: Any) -> JsonObject:
        """A one-time token, bound to a registered device or free; bounds: labels, board, serial, auto_accept, ttl_s."""
        wanted = {"device": device, **bounds}
        return self._send(
            "POST", "/v1/join-tokens", {name: value for name, value in wanted.items() if value is not None}
        )

    # models

    def add_model(self, path: Path, *, name: str | None = None, data: Path | str | None = None) -> JsonObject:
        """Upload and register a network: .onnx, or .safetensors in edgefleet's candidate form.

        ``data``: an .npz file with ``x`` and ``y`` (or explicit splits), or the name of a packaged or generated data
        set.
        """
        body: JsonObject = {"name": name or path.stem, "blob_sha256": self.upload(path)}
        body |= {"data": self._data(data)} if data is not None else {}
        return self._send("POST", "/v1/models", body)

    def models(self) -> list[JsonObject]:
        """All models."""
        return list(self._pages("/v1/models"))

    def model(self, reference: str) -> JsonObject:
        """One model by identifier or name."""
        return self._read(f"/v1/models/{reference}")

    def analyze_model(
        self,
        reference: str,
        *,
        data: Path | str | None = None,
        recipes: Sequence[str | Mapping[str, Any]] | None = None,
        n_samples: int | None = None,
    ) -> JsonObject:
        """Ask for a look at the model before compression; ``result`` is there at once if it was made before.

        ``data``: as in ``add_model``; None takes the model's own. ``recipes``: whose sizes to expect; None for all presets.
        """
        body: JsonObject = {"data": self._data(data)} if data is not None else {}
        body |= {"recipes": list(recipes)} if recipes is not None else {}
        body |= {"n_samples": n_samples} if n_samples is not None else {}
        return self._send("POST", f"/v1/models/{reference}/analysis", body, attempts=ATTEMPTS)

    def model_analysis(self, reference: str) -> JsonObject:
        """The analysis of the model that was asked for last."""
        return self._read(f"/v1/models/{reference}/analysis")

    def analysis(self, analysis_id: str, *, wait_s: float = 0.0) -> JsonObject:
        """The analysis; with ``wait_s`` the answer comes when it has ended or the time is over."""
        query = {"wait": wait_s} if wait_s else {}
        return self._read(f"/v1/analyses/{analysis_id}", query, timeout=wait_s + 30)

    def cancel_analysis(self, analysis_id: str) -> JsonObject:
        """Stop a waiting or running analysis."""
        return self._send("POST", f"/v1/analyses/{analysis_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_analysis(
        self, analysis_id: str, on_change: Callable[[JsonObject], None] | None = None, *, timeout_s: float | None = None
    ) -> JsonObject:
        """Wait until the analysis has ended; ``on_change`` is called with what is known of it every few seconds."""
        started = time.monotonic()
        while True:
            found = self.analysis(analysis_id, wait_s=ANALYSIS_LOOK_S)
            if on_change is not None:
                on_change(found)
            if found["state"] in TERMINAL_JOB_STATES:
                return found
            if timeout_s is not None and time.monotonic() - started > timeout_s:
                raise ClientError(
                    "wait_timed_out", f"analysis {analysis_id} is still {found['state']} after {timeout_s:g} s"
                )

    def _data(self, data: Path | str) -> JsonObject:
        """The specification of a file, which is uploaded, or of a named data set."""
        if isinstance(data, Path):
            return {"kind": "npz", "sha256": self.upload(data)}
        return {"kind": "generated" if data in GENERATED_DATA else "packaged", "name": data}

    def upload(self, path: Path) -> str:
        """Store a file under its SHA-256, which is returned; a file that is there already is stored once."""
        digest = _sha256(path)
        if path.stat().st_size >= IN_PARTS_BYTES:
            self._upload_in_parts(path, digest)
        else:
            headers = _upload_headers(path, 0)
            content = partial(_rest_of, path, 0)
            self._request("PUT", f"/v1/blobs/{digest}", make_content=content, headers=headers, attempts=ATTEMPTS)
        return digest

    def _upload_in_parts(self, path: Path, digest: str) -> None:
        """Send the file; after a lost connection, or in a later call, only what has not arrived yet."""
        for attempt in range(1, ATTEMPTS + 1):
            offset = int(self._read(f"/v1/blobs/{digest}/upload")["received_bytes"])
            headers = _upload_headers(path, offset) | {"Upload-Offset": str(offset), "Upload-Complete": "true"}
            content = partial(_rest_of, path, offset)
            try:
                self._request("PATCH", f"/v1/blobs/{digest}", make_content=content, headers=headers, attempts=1)
            except ClientError as err:
                if attempt == ATTEMPTS or not (isinstance(err, ControllerUnreachable) or err.problem.get("retry")):
                    raise
                time.sleep(BACKOFF_S * 2 ** (attempt - 1))
            else:
                return

    # jobs

    def submit_job(
        self,
        model: str,
        *,
        recipes: Sequence[str | Mapping[str, Any]],
        targets: Sequence[str] = ("onnxruntime",),
        devices: Sequence[str] | None = None,
        settings: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        name: str | None = None,
        seed: int | None = None,
        metric: str = "top1",
        no_cache: bool = False,
        **rules: Any,
    ) -> JsonObject:
        """Ask for every recipe x target x device; several settings multiply the runs once more. Raises ClientError with the reason where that is impossible.

        ``rules``: priority, compute, after, deadline, max_failures and max_failure_share, as in ``POST /v1/jobs``.
        """
        body: JsonObject = {
            "model": model,
            "recipes": list(recipes),
            "targets": list(targets),
            "seed": seed,
            "metric": metric,
            "no_cache": no_cache,
        }
        body |= {"devices": list(devices)} if devices is not None else {}
        if isinstance(settings, Mapping):
            body["settings"] = dict(settings)
        elif settings:
            body["settings"] = [dict(one) for one in settings]
        body |= {"name": name} if name else {}
        body |= {rule: value for rule, value in rules.items() if value is not None}
        return self._send("POST", "/v1/jobs", body, headers={"Idempotency-Key": str(uuid.uuid4())}, attempts=ATTEMPTS)

    def remeasure_job(self, job_id: str, **changes: Any) -> JsonObject:
        """Measure the job's artifacts again, in a new job that compresses nothing.

        ``changes``: name, variants, devices, settings, priority, deadline, max_failures and max_failure_share; what is left
        out is as it was.
        """
        body = {name: value for name, value in changes.items() if value is not None}
        return self._send("POST", f"/v1/jobs/{job_id}/remeasure", body)

    def workers(self) -> list[JsonObject]:
        """Worker processes that the controller knows, with their queues and state."""
        return list(self._pages("/v1/workers"))

    def jobs(self) -> list[JsonObject]:
        """All jobs, without their variants."""
        return list(self._pages("/v1/jobs"))

    def job(self, job_id: str, *, wait_s: float = 0.0, since: int | None = None) -> JsonObject:
        """The job; with ``wait_s`` the answer comes when its version passes ``since`` or the time is over."""
        query: dict[str, Any] = {"wait": wait_s} if wait_s else {}
        query |= {"since": since} if since is not None else {}
        return self._read(f"/v1/jobs/{job_id}", query, timeout=wait_s + 30)

    def cancel_job(self, job_id: str) -> JsonObject:
        """Stop the job; running steps are ended, finished results stay."""
        return self._send("POST", f"/v1/jobs/{job_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_job(
        self, job_id: str, on_change: Callable[[JsonObject], None] | None = None, *, timeout_s: float | None = None
    ) -> JsonObject:
        """Follow the job until it ended; ``on_change`` is called with every version of it."""
        started = time.monotonic()
        job = self.job(job_id)
        while True:
            if on_change is not None:
                on_change(job)
            if job["state"] in TERMINAL_JOB_STATES:
                return job
            if timeout_s is not None and time.monotonic() - started > timeout_s:
                raise ClientError("wait_timed_out", f"job {job_id} is still {job['state']} after {timeout_s:g} s")
            job = self.job(job_id, wait_s=WAIT_S, since=job["version"])

    # comparisons

    def submit_comparison(
        self,
        a: str | Mapping[str, str],
        b: str | Mapping[str, str] | None = None,
        *,
        devices: Sequence[str] | None = None,
        n_pairs: int = 400,
        n_comparisons: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> JsonObject:
        """Ask for A against B in turns on each device, or without B for A against itself ``n_comparisons`` times.

        An artifact is its sha256, or ``{"job": ..., "variant": ...}``.
        """
        body: JsonObject = {"kind": "aa" if b is None else "ab", "a": a, "b": b, "n_pairs": n_pairs}
        body |= {"devices": list(devices)} if devices is not None else {}
        body |= {"n_comparisons": n_comparisons} if n_comparisons is not None else {}
        body |= {"settings": dict(settings)} if settings else {}
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return self._send("POST", "/v1/comparisons", body, headers=headers, attempts=ATTEMPTS)

    def comparisons(self) -> list[JsonObject]:
        """All comparisons, newest first, without their conditions."""
        return list(self._pages("/v1/comparisons"))

    def comparison(self, comparison_id: str, *, wait_s: float = 0.0) -> JsonObject:
        """The comparison; with ``wait_s`` the answer comes when it has ended or the time is over."""
        query = {"wait": wait_s} if wait_s else {}
        return self._read(f"/v1/comparisons/{comparison_id}", query, timeout=wait_s + 30)

    def cancel_comparison(self, comparison_id: str) -> JsonObject:
        """Drop its queued runs and ask the devices that hold others to stop."""
        return self._send("POST", f"/v1/comparisons/{comparison_id}/cancel", {}, attempts=ATTEMPTS)

    def wait_for_comparison(self, comparison_id: str, *, timeout_s: float | None = None) -> JsonObject:
        """Wait until the comparison has ended on all its devices."""
        started = time.monotonic()
        while True:
            found = self.comparison(comparison_id, wait_s=WAIT_S)
            if found["state"] in TERMINAL_JOB_STATES:
                return found
            if timeout_s is not None and time.monotonic() - started > timeout_s:
                raise ClientError(
                    "wait_timed_out", f"comparison {comparison_id} is still {found['state']} after {timeout_s:g} s"
                )

    # results

    def results(self, job_id: str) -> list[JsonObject]:
        """One row for each variant and device."""
        return list(self._pages("/v1/results", {"job": job_id}))

    def has_partial_results(self, job_id: str) -> bool:
        """Whether the job has not ended, or was stopped before all was measured."""
        return bool(self._read("/v1/results", {"job": job_id, "limit": 1})["partial"])

    def front(
        self, job_id: str, x: str = "latency_p50_ms", y: str = "accuracy", *, provenance: str = "measured"
    ) -> JsonObject:
        """The non-dominated rows of a job in two figures, of one provenance."""
        return self._read("/v1/front", {"job": job_id, "x": x, "y": y, "provenance": provenance})

    def download_artifact(self, sha256: str, path: Path) -> Path:
        """Store the artifact at ``path``; a partial or damaged download is refused and leaves nothing."""
        digest = hashlib.sha256()
        partial = path.with_name(path.name + ".partial")
        try:
            with self._http.stream("GET", f"/v1/artifacts/{sha256}") as response, partial.open("wb") as file:
                if response.status_code >= 400:
                    response.read()
                    raise _error_of(response)
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ClientError("artifact_hash_mismatch", f"{sha256} arrived damaged; download it again")
            partial.replace(path)
        except httpx.TransportError as err:
            raise ControllerUnreachable(self.url, err) from err
        finally:
            partial.unlink(missing_ok=True)
        return path

    def manifest(self, sha256: str) -> JsonObject:
        """The manifest of an artifact."""
        return self._read(f"/v1/artifacts/{sha256}/manifest")

    def health(self) -> JsonObject:
        """Whether the controller is up."""
        return self._read("/healthz", attempts=1)

    # transport

    def _pages(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[JsonObject]:
        parameters = dict(query or {})
        while True:
            page = self._read(path, parameters)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            parameters["cursor"] = page["next_cursor"]

    def _read(
        self, path: str, query: Mapping[str, Any] | None = None, *, timeout: float = 60.0, attempts: int = ATTEMPTS
    ) -> JsonObject:
        response = self._request("GET", path, params=dict(query or {}), timeout=timeout, attempts=attempts)
        return _json_object(response)

    def _send(self, method: str, path: str, body: JsonObject, *, attempts: int = 1, **options: Any) -> JsonObject:
        return _json_object(self._request(method, path, json=body, attempts=attempts, **options))

    def _request(
        self,
        method: str,
        path: str,
        *,
        attempts: int,
        make_content: Callable[[], Iterator[bytes]] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Send, and send again after a lost connection or an answer that asks for it, up to ``attempts`` times."""
        for attempt in range(1, attempts + 1):
            if make_content is not None:
                options["content"] = make_content()
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as err:
                if attempt == attempts:
                    raise ControllerUnreachable(self.url, err) from err
            else:
                if response.status_code < 400:
                    return response
                if response.status_code not in {429, 502, 503, 504} or attempt == attempts:
                    raise _error_of(response)
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        raise AssertionError("attempts must be at least 1")


def _upload_headers(path: Path, offset: int) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size - offset)}


def _rest_of(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _json_object(response: httpx.Response) -> JsonObject:
    try:
        parsed = response.json()
    except ValueError as err:
        raise ClientError(
            "not_a_controller", f"{response.url} did not answer with JSON; is this a controller?"
        ) from err
    if not isinstance(parsed, dict):
        raise ClientError("not_a_controller", f"{response.url} answered with a {type(parsed).__name__}")
    return parsed


def _error_of(response: httpx.Response) -> ClientError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    details = "; ".join(
        f"{item.get('field', item.get('pointer', ''))}: {item.get('message', item.get('detail', ''))}"
        for item in problem.get("errors", [])
    )
    message = str(problem.get("detail") or problem.get("title") or f"the controller answered {response.status_code}")
    return ClientError(
        str(problem.get("code", f"http_{response.status_code}")),
        f"{message} ({details})" if details else message,
        status=response.status_code,
        problem=problem,
    )


def connect(url: str | None, data_dir: Path) -> Client:
    """A client from what the environment offers.

    The address: ``url``, ``$EDGEFLEET_URL``, what a running ``edgefleet serve`` wrote into the data directory, or
    the default port. The token: ``$EDGEFLEET_TOKEN`` or the data directory's operator token. ``$EDGEFLEET_PROJECT``
    names the project, ``$EDGEFLEET_CA_FILE`` the authority of a controller with a certificate of its own making.
    """
    address = url or os.environ.get("EDGEFLEET_URL") or _served(data_dir, "url") or "http://127.0.0.1:8470"
    token = os.environ.get("EDGEFLEET_TOKEN") or _operator_token(data_dir)
    is_served_here = not url and not os.environ.get("EDGEFLEET_URL")
    ca_file = os.environ.get("EDGEFLEET_CA_FILE") or (_served(data_dir, "ca_file") if is_served_here else None)
    return Client(
        address, token, project=os.environ.get("EDGEFLEET_PROJECT"), ca_file=Path(ca_file) if ca_file else None
    )


def _served(data_dir: Path, name: str) -> str | None:
    try:
        return str(json.loads((data_dir / "serve.json").read_text())[name])
    except (OSError, ValueError, KeyError):
        return None


def _operator_token(data_dir: Path) -> str:
    try:
        return (data_dir / "operator.token").read_text().strip()
    except OSError as err:
        raise ClientError(
            "no_token",
            f"no operator token at {data_dir / 'operator.token'} ({err.strerror}); set EDGEFLEET_TOKEN, "
            "or name the controller's data directory with --data-dir",
        ) from err
