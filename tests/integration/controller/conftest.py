"""A controller on loopback with a clock that stands still, and devices that speak the agent protocol by hand."""

import asyncio
import hashlib
import queue
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from edgefleet_agent.statistics import summarize_latency
from edgefleet_agent.wire.samples import encode_samples
from edgefleet_controller.app import create_app
from edgefleet_controller.clock import FakeClock
from edgefleet_controller.db.tables import Artifact, Variant
from edgefleet_controller.engine.in_memory import InMemoryEngine
from edgefleet_controller.models.errors import ModelRefused
from edgefleet_controller.runs.desk import Wanted
from edgefleet_controller.runs.rules import lease_rules
from edgefleet_controller.runs.service import enqueue_run
from edgefleet_controller.services import Services
from edgefleet_controller.settings import Settings
from edgefleet_controller.sweeper import Sweeper
from edgefleet_controller.wakeups import Waiter

JsonObject = dict[str, Any]
Answer = TypeVar("Answer")
NEVER_S = 3600.0
"""An interval of the sweeper that no test lives to see: tests call its rounds themselves."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of http:// addresses: by default each reads the host's certificates, which takes longer than its requests."""


class FakeInspector:
    """Takes every file that begins with ``model`` for an ONNX model."""

    def inspect(self, path: Path) -> JsonObject:
        if not path.read_bytes().startswith(b"model"):
            raise ModelRefused("model_file_invalid", "The file is no model.")
        return {"format": "onnx", "inputs": [], "outputs": [], "n_parameters": 1}


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _serving(app: Any) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5, proxy_headers=False)
        )
        started = threading.Event()
        original = server.startup

        async def startup(sockets: list[socket.socket] | None = None) -> None:
            await original(sockets)
            started.set()

        server.startup = startup  # type: ignore[method-assign]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            assert started.wait(30), "the server did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            app.state.services.wakeups.close()
            server.should_exit = True
            thread.join(30)


class Device:
    """An enrolled device, driven by hand."""

    def __init__(self, http: httpx.Client, answer: JsonObject) -> None:
        self.http = http
        self.device_id: str = answer["device_id"]
        self.name: str = answer["name"]
        self.headers = {"Authorization": f"Bearer {answer['credential']}"}

    def claim(self, *, wait_s: float = 0, draining: bool = False, facts_sha256: str = "f" * 64) -> httpx.Response:
        body = {"wait_s": wait_s, "facts_sha256": facts_sha256, "draining": draining}
        return self.http.post("/agent/v1/claim", json=body, headers=self.headers)

    def order(self) -> JsonObject:
        response = self.claim()
        assert response.status_code == 200, response.text
        order: JsonObject = response.json()["order"]
        return order

    def heartbeat(self, order: Mapping[str, Any], **fields: Any) -> httpx.Response:
        body = {"run_id": order["run_id"], "attempt": order["attempt"], "phase": "measure", **fields}
        return self.http.post("/agent/v1/heartbeat", json=body, headers=self.headers)

    def upload(self, data: bytes) -> httpx.Response:
        return self.http.put(f"/agent/v1/blobs/{sha256_of(data)}", content=data, headers=self.headers)

    def report(self, order: Mapping[str, Any], report: JsonObject) -> httpx.Response:
        body = {"run_id": order["run_id"], "attempt": order["attempt"], "report": report}
        return self.http.post("/agent/v1/report", json=body, headers=self.headers)


class Fleet:
    """The controller under test and what a test needs of it."""

    app: Any

    def __init__(self, url: str, services: Services, clock: FakeClock) -> None:
        self.url = url
        self.services = services
        self.clock = clock
        self.sweeper = Sweeper(services, lease_rules(services.settings))
        self.anonymous = self.client({})
        self.operator = self.client({"Authorization": f"Bearer {services.operator_token}"})

    def client(self, headers: Mapping[str, str]) -> httpx.Client:
        """Connections of whoever sends these headers; to be closed."""
        return httpx.Client(base_url=self.url, timeout=60, headers=headers, verify=NO_TLS)

    @property
    def engine(self) -> InMemoryEngine:
        engine = self.services.engine
        assert isinstance(engine, InMemoryEngine)
        return engine

    def close(self) -> None:
        self.anonymous.close()
        self.operator.close()

    def wanted(self, device: Device) -> Wanted:
        """What a claim of the device asks the desk for."""
        card = self.services.desk.roster.get(device.device_id)
        assert card is not None
        return Wanted(card)

    def begin_held(self, send: Callable[[], Answer]) -> "Future[Answer]":
        """Send a request from a thread of its own and return once the server holds it open.

        From then on no change is missed: the server registers the waiter before it looks into the store.
        """
        registered: queue.Queue[str] = queue.Queue()
        wakeups = self.services.wakeups
        original = wakeups.waiting_for

        def observed(key: str) -> AbstractContextManager[Waiter]:
            registered.put(key)
            return original(key)

        wakeups.waiting_for = observed  # type: ignore[method-assign, assignment]
        pool = ThreadPoolExecutor(1)
        held = pool.submit(send)
        pool.shutdown(wait=False)
        registered.get(timeout=30)
        wakeups.waiting_for = original  # type: ignore[method-assign]
        return held

    def post(self, path: str, body: Any = None, **options: Any) -> JsonObject:
        response = self.operator.post(path, json=body, **options)
        assert response.status_code < 300, response.text
        document: JsonObject = response.json()
        return document

    def get(self, path: str, **parameters: Any) -> JsonObject:
        response = self.operator.get(path, params=parameters)
        assert response.status_code == 200, response.text
        document: JsonObject = response.json()
        return document

    def upload(self, data: bytes) -> str:
        digest = sha256_of(data)
        response = self.operator.put(f"/v1/blobs/{digest}", content=data)
        assert response.status_code in (200, 201), response.text
        return digest

    def add_device(self, name: str = "bench-1", kind: str = "physical") -> Device:
        created = self.post("/v1/devices", {"name": name, "board": "linux-host", "kind": kind})
        body = {"join_token": created["join_token"], "facts": device_facts()}
        response = self.anonymous.post("/agent/v1/enrol", json=body)
        assert response.status_code == 200, response.text
        device = Device(self.anonymous, response.json())
        body = {"wait_s": 0, "facts_sha256": "f" * 64, "facts": device_facts()}
        assert self.anonymous.post("/agent/v1/claim", json=body, headers=device.headers).status_code == 204
        return device

    def add_user(self, role: str, project: str = "default") -> dict[str, str]:
        """A user with this role (or fleet admin, disabled, nobody); returns the headers of a token of the user's."""
        name = f"{role.replace(' ', '-')}-{project}"
        self.post("/v1/users", {"name": name, "is_admin": role == "fleet admin"})
        if role in ("viewer", "operator", "admin"):
            answer = self.operator.put(f"/v1/projects/{project}/members/{name}", json={"role": role})
            assert answer.status_code == 200, answer.text
        token = self.post("/v1/api-tokens", {"name": "test", "user": name, "role": "admin"})["token"]
        if role == "disabled":
            self.post(f"/v1/users/{name}/disable")
        return {"Authorization": f"Bearer {token}"}

    def add_model(self, name: str = "net") -> JsonObject:
        return self.post("/v1/models", {"name": name, "blob_sha256": self.upload(b"model " + name.encode())})

    def add_job(self, recipes: tuple[Any, ...] = ("baseline",), **fields: Any) -> JsonObject:
        model = self.add_model()
        return self.post("/v1/jobs", {"model": model["id"], "recipes": list(recipes), **fields})

    def enqueue(
        self, job: JsonObject, device: Device, *, variant: int = 0, content: bytes | None = None
    ) -> tuple[str, str]:
        """What the workflow does once a variant was compiled; returns the run's identifier and the artifact's hash."""
        variant_id = job["variants"][variant]["id"]
        artifact = self.upload(content or f"artifact of {variant_id}".encode())
        order: JsonObject = {
            "runtime": "onnxruntime",
            "artifact_name": "model.onnx",
            "artifact": self.blob_ref(artifact),
        }
        with self.services.database.writing() as session:
            row = Artifact(
                key_sha256=sha256_of(variant_id.encode()),
                key={},
                sha256=artifact,
                size_bytes=order["artifact"]["size_bytes"],
                target="onnxruntime",
                manifest={},
                accuracy_host={"metric": "top1", "value": 0.98},
                created_at=self.clock.now(),
            )
            session.merge(row)
            session.flush()
            stored = session.get_one(Variant, variant_id)
            stored.state, stored.artifact_key = "dispatched", row.key_sha256
            run = enqueue_run(session, job["id"], variant_id, device.device_id, order)
            return run.id, artifact

    def blob_ref(self, sha256: str) -> JsonObject:
        return {"sha256": sha256, "size_bytes": self.services.blobs.path(sha256).stat().st_size}

    def run(self, run_id: str) -> JsonObject:
        return self.get(f"/v1/runs/{run_id}")


def device_facts() -> JsonObject:
    return {
        "agent_version": "0.1.0",
        "board": "linux-host",
        "hostname": "host",
        "machine": "x86_64",
        "system": "Linux",
        "cpu_model": "cpu",
        "n_cores": 2,
        "memory_bytes": 1,
        "runtimes": [{"name": "onnxruntime", "version": "1", "interpreter": "python3", "python_version": "3.11"}],
    }


LATENCIES_NS = [1_000_000 + 1000 * (i % 100) for i in range(700)]


def latency_blob(latencies_ns: list[int] | None = None) -> bytes:
    values = latencies_ns or LATENCIES_NS
    return encode_samples({"start_ns": list(range(len(values))), "latency_ns": values})


def make_report(
    artifact_sha256: str, blob: bytes | None = None, latencies_ns: list[int] | None = None, **changes: Any
) -> JsonObject:
    """A valid report over ``latencies_ns`` (default LATENCIES_NS) with the fields of ``changes`` replaced."""
    data = blob if blob is not None else latency_blob(latencies_ns)
    figures = summarize_latency(latencies_ns or LATENCIES_NS)
    report: JsonObject = {
        "agent_version": "0.1.0",
        "provenance": "measured",
        "artifact": {"sha256": artifact_sha256, "size_bytes": 1},
        "latency_ms": {
            "n": figures.n,
            **figures.percentiles,
            "mean": figures.mean,
            "minimum": figures.minimum,
            "maximum": figures.maximum,
            "intervals": figures.intervals,
        },
        "energy": {"value_mj": None, "reason": "no_sensor"},
        "accuracy": {"value": 0.97, "n": 100, "n_correct": 97},
        "memory": {
            "after_import_bytes": 1,
            "after_load_bytes": 1,
            "peak_load_bytes": 1,
            "peak_run_bytes": 5_000_000,
            "peak_memory_bytes": 5_000_000,
        },
        "verdict": {"status": "valid"},
        "samples": {"latency": {"sha256": sha256_of(data), "size_bytes": len(data)}},
    }
    return report | changes


StartFleet = Callable[..., Fleet]
_ROUTES: list[BaseRoute] = []


def _share_routes(app: FastAPI) -> None:
    """Give the app the included routers of the process's first one, which know nothing of their app.

    FastAPI analyses every endpoint's parameters when an app gets its first request, which takes longer than most tests.
    """
    if not _ROUTES:
        _ROUTES.extend(app.router.routes)
    pairs = zip(app.router.routes, _ROUTES, strict=True)
    app.router.routes[:] = [own if isinstance(own, Route) else first for own, first in pairs]


@pytest.fixture
def start_fleet(tmp_path: Path, migrated_sqlite: Path) -> Iterator[StartFleet]:
    """Starts a controller; settings may be given by keyword."""
    stack: list[Any] = []

    def start(**changes: Any) -> Fleet:
        tmp_path.joinpath("data").mkdir(exist_ok=True)
        if "database_url" not in changes:
            shutil.copy(migrated_sqlite, tmp_path / "data" / "edgefleet.db")
        intervals = dict.fromkeys(("scan_interval_s", "presence_flush_s", "restart_queued_after_s"), NEVER_S)
        intervals |= {"heartbeat_flush_s": NEVER_S, "aftermath_s": 0}
        clock = FakeClock()
        app = create_app(
            Settings(data_dir=tmp_path / "data", **{**intervals, **changes}),
            engine=InMemoryEngine(),
            clock=clock,
            inspector=FakeInspector(),
        )
        _share_routes(app)
        serving = _serving(app)
        fleet = Fleet(serving.__enter__(), app.state.services, clock)
        fleet.app = app
        stack.extend([serving, fleet])
        return fleet

    yield start
    for item in reversed(stack):
        if isinstance(item, Fleet):
            item.close()
        else:
            item.__exit__(None, None, None)


@pytest.fixture
def each_fleet(start_fleet: StartFleet, store_url: str) -> Fleet:
    """A controller with an empty store, once on each back end."""
    return start_fleet(database_url=store_url)


@pytest.fixture
def fleet(start_fleet: StartFleet) -> Fleet:
    """A controller with an empty SQLite store."""
    return start_fleet()
