"""A controller in this process, an agent to serve it, and faults between the two."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from edgefleet_agent.cache import ArtifactCache
from edgefleet_agent.client import ControllerClient, RetryPolicy
from edgefleet_agent.inventory import Inventory
from edgefleet_agent.loop.agent import Agent, Stores
from edgefleet_agent.loop.one_run import Workshop
from edgefleet_agent.loop.stopping import StopSwitch
from edgefleet_agent.measure.artifact import Bench, Measurement, Subject, measure_artifact
from edgefleet_agent.settings import AgentSettings
from edgefleet_agent.spool import Spool
from edgefleet_agent.wire.messages import DeviceFacts, MeasureSettings, RunOrder, RuntimeFacts
from edgefleet_agent.wire.reasons import Provenance, VerdictStatus
from edgefleet_agent.wire.report import BlobRef, LatencySummary, RunReport, Verdict

TOKEN, CREDENTIAL = "ejt_once", "edt_secret"
Answer = Callable[[httpx.Request], httpx.Response]


def blob_ref(content: bytes) -> BlobRef:
    return BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def problem(status: int, code: str, *, retry: bool = False, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "detail": code, "retry": retry}, headers=headers)


@dataclass
class FakeController:
    """Answers ``/agent/v1`` as the contract says; ``faults`` are answers given once instead, by endpoint."""

    orders: list[RunOrder] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    reports: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    cancels: set[str] = field(default_factory=set)
    on_empty: Callable[[], None] = lambda: None

    def fail(self, endpoint: str, *faults: Any) -> None:
        """The next calls of the endpoint get these responses or exceptions."""
        self.faults.setdefault(endpoint, []).extend(faults)

    def calls(self, endpoint: str) -> list[Any]:
        """Bodies of all calls of an endpoint."""
        return [body for name, body in self.requests if name == endpoint]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.split("/")[3]
        if name == "signing-keys":  # a controller of before orders were signed
            return httpx.Response(404, json={"code": "not_found"})
        endpoint = {"PUT": "upload", "GET": "download"}.get(request.method, name)
        body = json.loads(request.content) if endpoint not in ("upload", "download") else request.url.path
        self.requests.append((endpoint, body))
        if endpoint != "enrol" and request.headers.get("Authorization") != "Bearer " + CREDENTIAL:
            return problem(401, "not_authenticated")
        if self.faults.get(endpoint):
            fault = self.faults[endpoint].pop(0)
            if isinstance(fault, BaseException):
                raise fault
            if fault is not None:
                return cast("httpx.Response", fault(request) if callable(fault) else fault)
        return getattr(self, "_" + endpoint)(request, body)  # type: ignore[no-any-return]

    def _enrol(self, request: httpx.Request, body: Any) -> httpx.Response:
        if body["join_token"] != TOKEN:
            return problem(401, "join_token_refused")
        return httpx.Response(
            200,
            json={
                "device_id": "dev-1",
                "name": body["name"] or "board",
                "credential": CREDENTIAL,
                "heartbeat_s": 0.0,
                "poll_wait_s": 0.0,
            },
        )

    def _claim(self, request: httpx.Request, body: Any) -> httpx.Response:
        if body["draining"]:
            return httpx.Response(204)
        if not self.orders:
            self.on_empty()
            return httpx.Response(204)
        return httpx.Response(200, json={"order": self.orders.pop(0).model_dump(mode="json")})

    def _heartbeat(self, request: httpx.Request, body: Any) -> httpx.Response:
        return httpx.Response(200, json={"cancel": body["run_id"] in self.cancels, "lease_s": 60.0})

    def _upload(self, request: httpx.Request, path: str) -> httpx.Response:
        self.uploads[path.rsplit("/", 1)[1]] = request.content
        return httpx.Response(201, json={})

    def _download(self, request: httpx.Request, path: str) -> httpx.Response:
        content = self.blobs.get(path.rsplit("/", 1)[1])
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        if content is None:
            return problem(404, "not_found")
        if wanted is None:
            return httpx.Response(200, content=content)
        return httpx.Response(206, content=content[int(wanted[len("bytes=") : -1]) :])

    def _report(self, request: httpx.Request, body: Any) -> httpx.Response:
        key = (body["run_id"], body["attempt"])
        duplicate = key in self.reports
        self.reports[key] = body["report"]
        return httpx.Response(200, json={"accepted": True, "duplicate": duplicate})


def measured(subject: Subject, bench: Bench) -> Measurement:
    """A measurement without a runner: phases, one report, one blob."""
    assert subject.path.is_file()
    for phase in ("load", "warmup", "measure", "evaluate"):
        bench.on_phase(phase, 5.0 if phase == "measure" else 0.0)
    latency = LatencySummary(n=1, p50=None, p90=None, p99=None, mean=1.0, minimum=1.0, maximum=1.0)
    report = RunReport(
        agent_version="0",
        provenance=Provenance.MEASURED,
        artifact=subject.artifact,
        latency_ms=latency,
        verdict=Verdict(status=VerdictStatus.VALID),
        samples={"latency": blob_ref(b"raw samples")},
    )
    return Measurement(report, {"latency": b"raw samples"})


FACTS = DeviceFacts(
    agent_version="0",
    board="linux-host",
    hostname="host",
    machine="x86_64",
    system="Linux",
    cpu_model="CPU",
    n_cores=2,
    memory_bytes=1,
    runtimes=[RuntimeFacts(name="onnxruntime", version="1", interpreter="/usr/bin/python3", python_version="3")],
)


@dataclass
class Rig:
    """A controller and the means to start agents on one state folder."""

    controller: FakeController
    state: Path
    stop: StopSwitch = field(default_factory=StopSwitch)
    measure: Callable[[Subject, Bench], Measurement] = measured
    facts: DeviceFacts = FACTS
    bench: Bench = field(default_factory=Bench)

    def agent(self, **settings: Any) -> Agent:
        """A fresh agent process, as far as the state folder is concerned."""
        http = httpx.Client(base_url="http://controller", transport=httpx.MockTransport(self.controller))
        chosen = {"controller": "http://controller", "join_token": TOKEN, **settings}
        workshop = Workshop(
            cache=ArtifactCache(self.state / "cache", 0),
            inventory=Inventory(self.facts, ()),
            bench=self.bench,
            retry=RetryPolicy(base_s=0.0, cap_s=0.0),
            rng=random.Random(0),
            stop=self.stop,
            lock_directory=self.state / "lock",
            measure=self.measure,
        )
        return Agent(ControllerClient(http), AgentSettings(**chosen), Stores(self.state, self.spool()), workshop)

    def spool(self) -> Spool:
        return Spool(self.state / "spool")

    def order(self, run_id: str = "run-1", attempt: int = 1, **changes: Any) -> RunOrder:
        """An order for a file the controller holds, queued."""
        content = b"model bytes " * 1000
        self.controller.blobs[blob_ref(content).sha256] = content
        fields = {"artifact": blob_ref(content), "settings": MeasureSettings(seconds=0.05), **changes}
        order = RunOrder(
            run_id=run_id, attempt=attempt, lease_s=60, runtime="onnxruntime", artifact_name="model.onnx", **fields
        )
        self.controller.orders.append(order)
        return order


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(FakeController(), tmp_path)


@pytest.fixture
def real_measure() -> Callable[[Subject, Bench], Measurement]:
    return measure_artifact
