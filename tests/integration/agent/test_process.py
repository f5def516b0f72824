"""The agent as a real process against a controller on loopback: SIGTERM, and SIGKILL in the middle of a run."""

import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.report import BlobRef

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 60.0


@contextmanager
def listening(answer: Callable[[httpx.Request], httpx.Response]) -> Iterator[str]:
    """Serve the fake controller on a free port of loopback."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                response = answer(
                    httpx.Request(self.command, "http://c" + self.path, headers=dict(self.headers), content=body)
                )
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield "http://127.0.0.1:{}".format(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def agent_process(url: str, state: Path, *extra: str) -> "Iterator[subprocess.Popen[bytes]]":
    call = "import sys; from edgefleet_agent.cli import main; sys.exit(main())"
    # a relative folder, as a person may name it: runners work in folders of their own
    command = [sys.executable, "-c", call, "run", "--controller", url, "--state-dir", state.name, *extra]
    environment = {**os.environ, "EDGEFLEET_HOST_LOCK": str(state / "host-lock")}
    process = subprocess.Popen(command, env=environment, cwd=state.parent, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def real_order(rig: Any) -> Callable[..., None]:
    """Queues a run of a real ONNX file that takes ``seconds``."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    content = model.SerializeToString()

    def queue(seconds: float, attempt: int = 1) -> None:
        ref = BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        rig.controller.blobs[ref.sha256] = content
        settings = MeasureSettings(seconds=seconds, min_samples=11, warmup_seconds=0.0, warmup_iterations=2)
        rig.order(attempt=attempt, artifact=ref, settings=settings)

    return queue


def runner_of(agent_pid: int) -> "int | None":
    """Process id of the runner child, from /proc."""
    for child in Path("/proc/{0}/task/{0}/children".format(agent_pid)).read_text().split():
        if b"edgefleet_agent.runner" in Path("/proc/{}/cmdline".format(child)).read_bytes():
            return int(child)
    return None


def test_sigterm_while_idle_ends_the_agent_cleanly(rig: Any) -> None:
    idle = threading.Event()
    rig.controller.on_empty = idle.set
    with listening(rig.controller) as url, agent_process(url, rig.state, "--join-token", "ejt_once") as agent:
        assert idle.wait(WAIT_S)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(WAIT_S) == 0
    assert rig.controller.calls("claim")[-1]["draining"] is True


def test_killed_agent_leaves_no_runner_and_the_run_is_measured_once(rig: Any, real_order: Any) -> None:
    measuring = threading.Event()

    def watch(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/heartbeat") and b'"measure"' in request.content:
            measuring.set()
        return rig.controller(request)  # type: ignore[no-any-return]

    real_order(seconds=600.0)
    with listening(watch) as url:
        with agent_process(url, rig.state, "--join-token", "ejt_once") as agent:
            assert measuring.wait(WAIT_S)
            runner = runner_of(agent.pid)
            assert runner is not None
            ended = os.pidfd_open(runner)
            agent.kill()
            assert select.select([ended], [], [], WAIT_S)[0], "the runner outlived its agent"
            os.close(ended)
        assert rig.controller.reports == {}
        real_order(seconds=0.05, attempt=2)  # what the controller does when the lease has run out
        with agent_process(url, rig.state, "--once") as agent:
            assert agent.wait(WAIT_S) == 0
    assert list(rig.controller.reports) == [("run-1", 2)]
    assert rig.controller.reports[("run-1", 2)]["error"] is None
    assert len(rig.controller.calls("enrol")) == 1


def test_sigterm_during_a_run_reports_it_first(rig: Any, real_order: Any) -> None:
    measuring = threading.Event()

    def watch(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/heartbeat") and b'"measure"' in request.content:
            measuring.set()
        return rig.controller(request)  # type: ignore[no-any-return]

    real_order(seconds=1.0)
    with listening(watch) as url, agent_process(url, rig.state, "--join-token", "ejt_once") as agent:
        assert measuring.wait(WAIT_S)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(WAIT_S) == 0
    assert rig.controller.reports[("run-1", 1)]["error"] is None
