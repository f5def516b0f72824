"""Controller, worker, agent and runner as real processes, found again by a mark in their environment."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper
from tests.benchmarks.fleet_load.controller_process import PYTHONPATH, ROOT
from tests.benchmarks.fleet_load.documents import JsonObject
from tests.benchmarks.fleet_load.fault_proxy import FaultProxy

MARK = "EDGEFLEET_BENCH_MARK"
DEADLINE_S = 300.0
AGENT = "from edgefleet_agent.cli import main; raise SystemExit(main())"
QUICK = {
    "EDGEFLEET_LEASE_S": "6",
    "EDGEFLEET_LEASE_MARGIN_S": "4",
    "EDGEFLEET_HEARTBEAT_S": "1",
    "EDGEFLEET_RESTART_QUEUED_AFTER_S": "3",
    "EDGEFLEET_WORKER_HEARTBEAT_S": "1",
    "EDGEFLEET_WORKER_TIMEOUT_S": "8",
    "EDGEFLEET_QUARANTINE_AFTER": "0",
    "EDGEFLEET_REQUESTS_BURST": "1000000",
    "OMP_NUM_THREADS": "1",
}
"""Short times, so that a schedule does not wait for minutes; no quarantine, because runs are killed on purpose."""

Found = TypeVar("Found")


class StuckError(Exception):
    """Something that had to happen did not."""


def wait_until(is_true: Callable[[], Found | None], what: str, deadline_s: float = DEADLINE_S) -> Found:
    """Look ten times a second until it is true; StuckError after the deadline."""
    ends_s = time.monotonic() + deadline_s
    while time.monotonic() < ends_s:
        found = is_true()
        if found:
            return found
        time.sleep(0.1)
    raise StuckError(f"{what} did not happen within {deadline_s} s")


class ProcessFleet:
    """One controller with its worker and one agent that reaches it through a proxy."""

    def __init__(self, root: Path, database_url: str | None, seed: int) -> None:
        self.root, self.home, self.state = root, root / "controller", root / "agent"
        self.home.mkdir(parents=True)
        self.mark = uuid.uuid4().hex
        database = {"EDGEFLEET_DATABASE_URL": database_url} if database_url else {}
        self.environment = os.environ | QUICK | database | {MARK: self.mark, "PYTHONPATH": PYTHONPATH}
        self.environment |= {"EDGEFLEET_HOME": str(self.home), "EDGEFLEET_HOST_LOCK": str(root / "host-lock")}
        self.port = _free_port()
        self.proxy = FaultProxy(lambda: self.port, seed)
        self.proxy.start()
        self.controller: subprocess.Popen[bytes] | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None

    @property
    def http(self) -> httpx.Client:
        """The operator's client, past the proxy."""
        if self._http is None:
            token = (self.home / "operator.token").read_text().strip()
            url = f"http://127.0.0.1:{self.port}"
            self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        return self._http

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """A request of the operator, repeated while the controller is down."""

        def send() -> httpx.Response | None:
            try:
                answer = self.http.request(method, path, **options)
            except httpx.TransportError:
                return None
            return answer if answer.status_code < 500 else None

        answer = wait_until(send, f"an answer to {method} {path}")
        if answer.status_code >= 300:
            raise StuckError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def start_controller(self) -> None:
        """``edgefleet serve`` with its worker, on the same port every time."""
        (self.home / "serve.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "edgefleet_controller", "serve", "--port", str(self.port)]
        self.controller = self._start(command, "controller.log")
        self._await(self.controller, lambda: (self.home / "serve.json").exists(), "controller.log")

    def start_agent(self, join_token: str | None = None) -> None:
        """``edgefleet-agent run`` through the proxy."""
        command = [sys.executable, "-c", AGENT, "run", "--controller", f"http://127.0.0.1:{self.proxy.port}"]
        command += ["--state-dir", str(self.state)] + (["--join-token", join_token] if join_token else [])
        self.agent = self._start(command, "agent.log")

    def _start(self, command: list[str], log: str) -> "subprocess.Popen[bytes]":
        with (self.root / log).open("ab") as file:
            return subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )

    def _await(self, process: "subprocess.Popen[bytes]", is_true: Callable[[], bool], log: str) -> None:
        wait_until(lambda: is_true() or process.poll() is not None, log)
        if process.poll() is not None:
            raise StuckError((self.root / log).read_text()[-3000:])

    def processes(self, *words: str) -> list[psutil.Process]:
        """Live processes of this fleet whose command line has all of these words."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                mine = process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE
                if mine and all(any(word in part for part in process.cmdline()) for word in words):
                    found.append(process)
        return found

    def revive(self) -> None:
        """Start again what was killed."""
        if self.controller is None or self.controller.poll() is not None:
            self.start_controller()
        if self.agent is None or self.agent.poll() is not None:
            self.start_agent()

    def prepare(self) -> None:
        """Controller, model and agent; one job, so that the compression is cached."""
        self.start_controller()
        model, data = own_model(self.root)
        blobs = []
        for path in (model, data):
            content = path.read_bytes()
            blobs.append(_sha256(content))
            self.ask("PUT", f"/v1/blobs/{blobs[-1]}", content=content)
        document = {"name": "own", "blob_sha256": blobs[0], "data": {"kind": "npz", "sha256": blobs[1]}}
        self.ask("POST", "/v1/models", json=document)
        device = self.ask("POST", "/v1/devices", json={"name": "this-host", "board": "linux-host"})
        self.start_agent(device["join_token"])
        wait_until(lambda: any(one["online"] for one in self.ask("GET", "/v1/devices")["items"]), "the agent online")

    def submit(self, key: str, recipe: JsonObject, seconds: float) -> str:
        """A job of one variant on the one device."""
        settings = {"seconds": seconds, "min_samples": 1, "warmup_seconds": 0, "max_seconds": 2 * seconds}
        document = {"model": "own", "recipes": [recipe], "devices": ["this-host"], "settings": settings}
        return str(self.ask("POST", "/v1/jobs", json=document, headers={"Idempotency-Key": key})["id"])

    def stop(self) -> int:
        """Stop controller and agent as a person would; returns how many processes they left behind."""
        for process in (self.agent, self.controller):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self.agent, self.controller):
            if process is not None:
                process.wait(60)
        with contextlib.suppress(StuckError):
            wait_until(lambda: not self.processes(), "the end of all processes", 20)
        return len(self.processes())

    def close(self) -> None:
        """Kill whatever is left."""
        for left in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        for started in (self.agent, self.controller):
            if started is not None:
                started.wait(30)
        if self._http is not None:
            self._http.close()
        self.proxy.stop()


def own_model(folder: Path) -> tuple[Path, Path]:
    """A small ONNX network and labelled data for it."""
    rng = np.random.default_rng(7)
    weights = rng.normal(0, 1, (16, 2)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "own",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "own.onnx")
    samples = rng.normal(0, 1, (200, 16)).astype(np.float32)
    np.savez(folder / "own.npz", x=samples, y=(samples @ weights).argmax(1).astype(np.int64))
    return folder / "own.onnx", folder / "own.npz"


def read_facts(path: Path) -> JsonObject:
    """A JSON file."""
    facts: JsonObject = json.loads(path.read_text())
    return facts


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
