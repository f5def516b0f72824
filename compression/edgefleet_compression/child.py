"""The protocol of a step that runs in a child process; shared by compression and deploy. Loads no torch.

stdin: one JSON request on one line; then stdin stays open. End of file means that the parent is gone: the child ends
its own children and itself at once (a parent-death signal would fire when the *thread* that started us ends).
stdout: JSON lines, ``progress`` any number of times, then one ``done`` (exit 0) or ``failed`` (exit 3). It is a private
copy of fd 1; fd 1 itself goes to stderr, so that a library's print cannot break the protocol.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import psutil

MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
EXIT_FAILED: Final = 3
EXIT_ORPHANED: Final = 4


class Emit(Protocol):
    """Report progress: ``fraction`` of the step done (0..1), a message for a person, details for a machine."""

    def __call__(self, fraction: float, message: str, **detail: Any) -> None:
        """Send one progress event."""


Task = Callable[[Mapping[str, Any], Emit], dict[str, Any]]
"""A task takes the request and the progress channel and returns its JSON-safe result."""


class _EventStream:
    """Writes JSON lines to the private copy of fd 1; ends the child when nobody reads any more."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, event: Mapping[str, Any]) -> None:
        payload = json.dumps(event, allow_nan=False, default=str).encode() + b"\n"
        with self._lock:
            try:
                while payload:
                    payload = payload[os.write(self._fd, payload) :]
            except BrokenPipeError:
                _end_at_once()

    def progress(self, fraction: float, message: str, **detail: Any) -> None:
        bounded = min(max(fraction, 0.0), 1.0)
        self.send({"event": "progress", "fraction": round(bounded, 4), "message": message, "detail": detail})


def run_child(tasks: Mapping[str, Task], *, error_roots: tuple[type[Exception], ...]) -> int:
    """Serve the one request on stdin; return the exit status.

    ``error_roots`` are the components' error trees: their exceptions carry ``code``, ``message`` and ``detail``. Anything
    else is reported as ``internal_error`` (``out_of_memory`` where memory ran out), with the traceback on stderr. Tasks
    import torch themselves, after the call: see ``wait_passively``.
    """
    wait_passively()
    stream = _EventStream(_take_stdout())
    line = _read_line()
    if line is None:
        return EXIT_ORPHANED
    threading.Thread(target=_watch_parent, name="watch-parent", daemon=True).start()
    try:
        request = _parse_request(line, tasks)
        result = tasks[request["task"]](request, stream.progress)
    except (MemoryError, Exception) as error:  # noqa: BLE001 - the rim of the process: every end becomes an event
        stream.send({"event": "failed", "error": describe_error(error, error_roots)})
        return EXIT_FAILED
    stream.send({"event": "done", "result": result})
    return 0


def wait_passively() -> None:
    """Let OpenMP's idle threads sleep; has an effect only before torch is loaded.

    Spinning threads on a machine with other work make training eight times slower (2 cores, load 5: 133 s against 16 s).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def describe_error(error: BaseException, error_roots: tuple[type[Exception], ...]) -> dict[str, Any]:
    """Return {code, message, detail} of any exception; unknown ones also go to stderr with their traceback."""
    if isinstance(error, (*error_roots, _BadRequest)):
        return {
            "code": getattr(error, "code", "internal_error"),
            "message": getattr(error, "message", str(error)),
            "detail": getattr(error, "detail", {}),
        }
    traceback.print_exception(error, file=sys.stderr)
    if is_out_of_memory(error):
        return {
            "code": "out_of_memory",
            "message": "The step ran out of memory: lower the batch size or run it on a machine with more memory.",
            "detail": {"exception": type(error).__name__},
        }
    return {
        "code": "internal_error",
        "message": f"{type(error).__name__}: {error}",
        "detail": {"exception": type(error).__name__},
    }


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for Python's own MemoryError and for what torch raises on the CPU and on CUDA; loads no torch."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "CUDA out of memory" in text)


class _BadRequest(Exception):
    """The request line is not one of the known tasks."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "request_invalid"
        self.message = message
        self.detail: dict[str, Any] = {}


def _parse_request(line: bytes, tasks: Mapping[str, Task]) -> dict[str, Any]:
    if len(line) > MAX_REQUEST_BYTES:
        raise _BadRequest(f"The request is longer than {MAX_REQUEST_BYTES} bytes: pass files by path.")
    try:
        request = json.loads(line)
    except ValueError as error:
        raise _BadRequest(f"The request is not one line of JSON: {error}.") from error
    if not isinstance(request, dict) or request.get("task") not in tasks:
        raise _BadRequest('The request needs "task", one of: {}.'.format(", ".join(sorted(tasks))))
    return request


def _take_stdout() -> int:
    private = os.dup(1)
    os.dup2(2, 1)
    return private


def _read_line() -> bytes | None:
    """Return the first line of stdin without its end, or None if the parent closed stdin before sending one."""
    received = bytearray()
    while b"\n" not in received and len(received) <= MAX_REQUEST_BYTES:
        chunk = os.read(0, 65536)
        if not chunk:
            return None
        received += chunk
    return bytes(received.partition(b"\n")[0])


def _watch_parent() -> None:
    while os.read(0, 65536):
        pass
    _end_at_once()


def _end_at_once() -> None:
    for process in psutil.Process().children(recursive=True):
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    os._exit(EXIT_ORPHANED)
