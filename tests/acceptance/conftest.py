"""Real processes on loopback: a controller, agents, the command line. What they start is found by a mark in their
environment, so that a test can say that nothing was left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

MARK = "EDGEFLEET_TEST_MARK"
SCRIPTS = Path(sys.executable).parent
DEADLINE_S = 240


def wait_until(is_true: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Look again and again until it is true; a test's only way to wait for another process."""
    poll = subprocess.Popen(["sleep", str(deadline_s)])
    try:
        while poll.poll() is None:
            if value := is_true():
                return value
            try:
                poll.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    finally:
        poll.kill()
        poll.wait()
    raise AssertionError(f"{what} did not happen within {deadline_s} s")


class Fleet:
    """A controller's data directory and the processes that work on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "controller"
        self.scripts = SCRIPTS
        self.mark = uuid.uuid4().hex
        self._started: list[subprocess.Popen[bytes]] = []
        self.environment = os.environ | {
            MARK: self.mark,
            "EDGEFLEET_HOME": str(self.home),
            "EDGEFLEET_HOST_LOCK": str(root / "host-lock"),
            "EDGEFLEET_LEASE_S": "8",
            "EDGEFLEET_LEASE_MARGIN_S": "5",
            "EDGEFLEET_HEARTBEAT_S": "2",
        }

    def start_controller(self) -> subprocess.Popen[bytes]:
        """``edgefleet serve``; returns when it answers."""
        (self.home / "serve.json").unlink(missing_ok=True)
        process = self._start([str(SCRIPTS / "edgefleet"), "serve", "--port", str(self._port())], "controller.log")
        wait_until(lambda: (self.home / "serve.json").exists() or process.poll() is not None, "serving")
        assert process.poll() is None, (self.root / "controller.log").read_text()
        return process

    def start_agent(self, join_token: str | None = None) -> subprocess.Popen[bytes]:
        """``edgefleet-agent run``; returns when the controller sees it online."""
        command = [
            str(SCRIPTS / "edgefleet-agent"),
            "run",
            "--controller",
            self.url,
            "--state-dir",
            str(self.root / "agent"),
        ]
        process = self._start(command + (["--join-token", join_token] if join_token else []), "agent.log")
        wait_until(
            lambda: self._has_agent() or process.poll() is not None,
            "online",
        )
        assert process.poll() is None, (self.root / "agent.log").read_text()
        return process

    def _has_agent(self) -> bool:
        token = (self.home / "operator.token").read_text().strip()
        answer = httpx.get(f"{self.url}/v1/devices", headers={"Authorization": f"Bearer {token}"}, timeout=60)
        return any(device["online"] for device in answer.raise_for_status().json()["items"])

    def _port(self) -> int:
        """The same port on every start, so that agents find a restarted controller."""
        path = self.root / "port"
        if not path.exists():
            import socket

            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                path.write_text(str(probe.getsockname()[1]))
        return int(path.read_text())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port()}"

    def _start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.root / log).open("ab") as file:
            process = subprocess.Popen(
                command, env=self.environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )
        self._started.append(process)
        return process

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One ``edgefleet`` command."""
        return subprocess.run(
            [str(SCRIPTS / "edgefleet"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def json(self, *arguments: str) -> Any:
        """The JSON a command prints."""
        done = self.cli(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def processes(self) -> list[psutil.Process]:
        """Everything alive that this fleet's processes started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def wait_until(self, is_true: Callable[[], Any], what: str) -> Any:
        """See the function of this name."""
        return wait_until(is_true, what)

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(30)

    def stop_all(self) -> None:
        """End what was started in order, agents before their controller."""
        for process in reversed(self._started):
            self.stop(process)

    def kill_all(self) -> None:
        """End whatever the test left running."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.wait(30)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """An empty controller directory; whatever still runs at the end is killed."""
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.kill_all()


@pytest.fixture(scope="module")
def empty_fleet_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """An empty controller directory for all tests of a file."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    yield fleet
    fleet.kill_all()


@pytest.fixture(scope="session")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A person's ONNX file, made with the onnx package alone, and labelled data for it.

    The network separates two Gaussian clouds: a wide hidden layer, so that int8 makes the file smaller, and the exact
    answer known, so that its accuracy is.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(5)
    n_features, n_hidden = 32, 512
    direction = np.ones(n_features, np.float32) / np.sqrt(n_features)
    hidden = rng.normal(0, 0.05, (n_features, n_hidden)).astype(np.float32)
    hidden += np.outer(direction, np.where(np.arange(n_hidden) % 2, 1, -1)).astype(np.float32)
    output = np.stack([np.where(np.arange(n_hidden) % 2, -1, 1), np.where(np.arange(n_hidden) % 2, 1, -1)], axis=1)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "w2"], ["y"]),
        ],
        "mine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", n_features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(hidden, "w1"), numpy_helper.from_array(output.astype(np.float32) / n_hidden, "w2")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    folder = tmp_path_factory.mktemp("own_model")
    onnx.save(model, folder / "mine.onnx")
    labels = rng.integers(0, 2, 600)
    samples = rng.normal(0, 1, (600, n_features)) + np.outer(np.where(labels, 1.0, -1.0), direction * 2)
    np.savez(folder / "mine.npz", x=samples.astype(np.float32), y=labels.astype(np.int64))
    return folder / "mine.onnx", folder / "mine.npz"
