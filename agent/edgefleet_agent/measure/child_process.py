"""Starts, supervises and ends the runner child; whatever happens to it becomes one coded error."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Callable, Optional

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode

READ_BYTES = 65536
MAX_LINE_BYTES = 16 * 1024 * 1024
STDERR_LINES = 20
STDERR_BYTES = 8192
EXIT_GRACE_S = 5.0
"""A runner that said its last word may take this long to end."""

EXIT_FAILED = 3
"""The runner's exit status after a ``failed`` event (runner.protocol)."""

BLAS_THREADS = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy in the runner only shuffles arrays; its idle BLAS threads would cost memory that belongs to nobody."""


class RunnerProcess:
    """A runner child with its pipes. Use as a context manager: leaving it ends the child, whatever it does."""

    def __init__(self, interpreter: str, folder: Path, import_path: Sequence[Path]) -> None:
        self._stderr_path = folder / "stderr.txt"
        self._oom_kills = read_oom_kills()
        environment = child_environment(os.environ, import_path)
        self._stderr = self._stderr_path.open("wb")
        try:
            self._child = subprocess.Popen(
                [interpreter, "-m", "edgefleet_agent.runner"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                cwd=folder,
                env=environment,
                bufsize=0,
            )
        except OSError as err:
            self._stderr.close()
            raise MeasurementFailed(
                ErrorCode.INTERPRETER_MISSING,
                "the interpreter {} can't be started ({}); name an existing Python for this runtime".format(
                    interpreter, err.strerror
                ),
                {"interpreter": interpreter},
            ) from err
        self._buffer = bytearray()

    def __enter__(self) -> "RunnerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def send(self, message: JsonObject) -> None:
        """Write one request line; a child that is gone is noticed by the next ``receive``."""
        with suppress(BrokenPipeError):
            _stream(self._child.stdin).write(json.dumps(message).encode() + b"\n")

    def receive(self, limit_s: float, every_s: float, on_wait: Callable[[], None]) -> JsonObject:
        """The next event. ``on_wait`` is called every ``every_s`` seconds; silence for ``limit_s`` is runner_hung."""
        ends = time.monotonic() + limit_s
        while True:
            line = self._take_line()
            if line is not None:
                return self._parse(line)
            left = ends - time.monotonic()
            if left <= 0:
                raise self._failure(
                    ErrorCode.RUNNER_HUNG, "the runner said nothing for {:.0f} s and was ended".format(limit_s)
                )
            if not self._wait_readable(min(left, every_s)):
                on_wait()

    def wait_for_exit(self) -> None:
        """Let the child end after its last event; one that lingers is killed."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(EXIT_GRACE_S)
        self.kill()

    def kill(self) -> None:
        """End the child and collect it."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._stderr):
            if stream is not None:
                stream.close()

    def _wait_readable(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([_stream(self._child.stdout)], [], [], timeout_s)
        return bool(ready)

    def _take_line(self) -> Optional[bytes]:
        """A whole line where one is there; never blocks. Raises when the child has ended."""
        while b"\n" not in self._buffer:
            if not self._wait_readable(0):
                return None
            chunk = os.read(_stream(self._child.stdout).fileno(), READ_BYTES)
            if not chunk:
                raise self._ended()
            self._buffer += chunk
            if len(self._buffer) > MAX_LINE_BYTES:
                raise self._failure(ErrorCode.RUNNER_PROTOCOL, "the runner sent an endless line")
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line

    def _parse(self, line: bytes) -> JsonObject:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise self._failure(
                ErrorCode.RUNNER_PROTOCOL,
                "the runner sent something that is no event; a runtime may write to a descriptor it does not own",
                {"line": line[:200].decode("utf-8", "replace")},
            )
        return event

    def _ended(self) -> MeasurementFailed:
        """The child closed its output without a last event: say how it ended."""
        try:
            status = self._child.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            return self._failure(ErrorCode.RUNNER_PROTOCOL, "the runner closed its output but did not end")
        if status < 0:
            return self._signalled(-status)
        if status == 0:
            return self._failure(ErrorCode.RUNNER_PROTOCOL, "the runner ended without a result")
        return self._failure(
            ErrorCode.RUNNER_CRASHED,
            "the runner ended with exit status {} before it had a result; its last words are in the detail".format(
                status
            ),
            {"exit_status": status},
        )

    def _signalled(self, number: int) -> MeasurementFailed:
        name = signal_name(number)
        detail = {"signal": name}
        if number != signal.SIGKILL:
            return self._failure(
                ErrorCode.RUNNER_CRASHED,
                "the runtime crashed the runner with {}; its last words are in the detail".format(name),
                detail,
            )
        if read_oom_kills() > self._oom_kills:
            return self._failure(
                ErrorCode.OUT_OF_MEMORY,
                "the kernel ended the runner for lack of memory; choose a smaller artifact or batch",
                detail,
            )
        return self._failure(ErrorCode.RUNNER_KILLED, "somebody ended the runner with SIGKILL; try again", detail)

    def _failure(self, code: ErrorCode, message: str, detail: Optional[JsonObject] = None) -> MeasurementFailed:
        self.kill()
        return MeasurementFailed(code, message, dict(detail or {}, stderr=self.last_words()))

    def last_words(self) -> list[str]:
        """The last lines the child wrote to stderr."""
        raw = self._stderr_path.read_bytes()[-STDERR_BYTES:]
        return raw.decode("utf-8", "replace").splitlines()[-STDERR_LINES:]


def signal_name(number: int) -> str:
    """Name of a signal, such as SIGSEGV; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal {}".format(number)


def child_environment(inherited: Mapping[str, str], import_path: Sequence[Path]) -> dict[str, str]:
    """The environment without the agent's own Python variables and with the runner archive to import from."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("PYTHON")}
    own = {"PYTHONPATH": os.pathsep.join(str(path) for path in import_path), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**BLAS_THREADS, **kept, **own}


def read_oom_kills() -> int:
    """Processes this kernel has ended for lack of memory (``oom_kill`` in /proc/vmstat, kernel >= 4.13); else 0."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _stream(stream: Optional[IO[Any]]) -> IO[Any]:
    assert stream is not None, "the child is started with pipes"
    return stream


def default_interpreter() -> str:
    """The interpreter the agent itself runs under."""
    return sys.executable
