"""The controller under load, in a process of its own."""

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from tests.benchmarks.fleet_load.http_client import Connection, encode_request

START_TIMEOUT_S = 120.0
ROOT = Path(__file__).resolve().parents[3]
PYTHONPATH = ":".join(str(ROOT / folder) for folder in ("", "agent", "controller", "compression", "deploy"))
"""The tree that the bench belongs to, whatever is installed."""

_CPU = encode_request("GET", "/bench/cpu")


class ControllerProcess:
    """Where it listens, what it costs."""

    def __init__(self, folder: Path, port: int, pid: int) -> None:
        self.folder = folder
        self.port = port
        self._process = psutil.Process(pid)
        self.operator_token = (folder / "operator.token").read_text().strip()

    async def cpu_s(self) -> float:
        """User and system time of all threads of the process so far, seconds."""
        return float((await self._state())["process_s"])

    async def n_held(self) -> int:
        """How many requests it holds open."""
        return int((await self._state())["n_held"])

    async def _state(self) -> dict[str, float]:
        connection = Connection(self.port)
        answer = await connection.expect(_CPU, 200)
        connection.close()
        found: dict[str, float] = answer.json()
        return found

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(self._process.memory_info().rss)


@contextmanager
def controller_running(folder: Path, database_url: str | None) -> Iterator[ControllerProcess]:
    """Start the bench's controller over ``database_url`` (None: SQLite in ``folder``) and end it afterwards."""
    raise_file_limit()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    if database_url is not None:
        environment["EDGEFLEET_DATABASE_URL"] = database_url
    command = [sys.executable, "-m", "tests.benchmarks.fleet_load.bench_app", str(folder)]
    with (
        (folder / "controller.log").open("wb") as log,
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log) as process,
    ):
        try:
            facts = _wait_for(folder / "bench.json", process, folder / "controller.log")
            yield ControllerProcess(folder, int(facts["port"]), int(facts["pid"]))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def raise_file_limit() -> None:
    """Let this process and its children hold as many connections as the host allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _wait_for(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, int]:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"the controller did not start:\n{log.read_text()}")
        time.sleep(0.05)
    facts: dict[str, int] = json.loads(path.read_text())
    return facts
