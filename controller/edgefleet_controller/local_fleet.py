"""A controller and an agent as processes of this machine on loopback: what the demo and the benches run against."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgefleet_controller.client import Client, connect

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class LocalFleetError(Exception):
    """A process did not start or ended; ``code`` is stable and the message names the log to read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@contextmanager
def local_controller(data_dir: Path) -> Iterator[Client]:
    """A controller on a free loopback port with its state in ``data_dir``; yields a client, stops it afterwards."""
    command = [sys.executable, "-m", "edgefleet_controller", "serve", "--data-dir", str(data_dir), "--port", "0"]
    (data_dir / "serve.json").unlink(missing_ok=True)
    with _process(command, data_dir / "controller.log") as process:
        _wait_until(lambda: (data_dir / "serve.json").exists(), process, data_dir / "controller.log")
        with connect(json.loads((data_dir / "serve.json").read_text())["url"], data_dir) as client:
            yield client


@contextmanager
def local_agent(
    client: Client, data_dir: Path, name: str, *, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """An agent of this host under this name; enrolled with a one-time token at first, by its credential afterwards.

    environment: variables beside this process's own.
    """
    state_dir = data_dir / "agent"
    command = [
        str(Path(sys.executable).with_name("edgefleet-agent")),
        "run",
        "--controller",
        client.url,
        "--state-dir",
        str(state_dir),
    ]
    known = {device["name"]: device for device in client.devices()}
    if name not in known:
        device = client.add_device(name, "linux-host")
        command += ["--join-token", device["join_token"]]
    elif not state_dir.exists():
        command += ["--join-token", client.create_join_token(known[name]["id"])["join_token"]]
    with _process(command, data_dir / "agent.log", environment) as process:
        _wait_until(lambda: bool(client.device(name).get("online")), process, data_dir / "agent.log")
        yield


@contextmanager
def _process(
    command: list[str], log_path: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own session with its output in a file, ended when the block ends."""
    with log_path.open("ab") as log:
        process = _start(command, log, environment)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(command: list[str], log: IO[bytes], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )


def _wait_until(is_true: Callable[[], bool], process: subprocess.Popen[bytes], log_path: Path) -> None:
    started = time.monotonic()
    while not is_true():
        if process.poll() is not None:
            raise LocalFleetError("process_ended", f"a process ended with status {process.returncode}; see {log_path}")
        if time.monotonic() - started > START_TIMEOUT_S:
            raise LocalFleetError("start_timed_out", f"not ready after {START_TIMEOUT_S:g} s; see {log_path}")
        time.sleep(0.1)
