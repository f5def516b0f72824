"""Runs one compress or compile step in a child process of its own.

Why a process: killing its group is a cancel that works, limits hold, and a crash inside torch costs one step. The
child's standard input is a pipe that stays open; it ends when this process dies, however it dies, and the child
then ends itself (a parent-death signal would fire when the creating *thread* ends).
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefleet_controller.engine.isolation import can_isolate, isolate_network
from edgefleet_controller.engine.memory_watch import MemoryWatch

JsonObject = dict[str, Any]

LAST_WORDS_BYTES = 4000
"""How much of the child's standard error is kept for the error's detail."""

OFFERED_TO_THE_KERNEL = "800"
"""Of 1000: short of memory, the kernel ends a step before the worker and the database; see proc(5)."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longest event line; a result with the history of a long training fits."""


MAX_FILE_BYTES = 2 * 1024**3
"""Longest file of a step, where nothing else is asked for: what an ONNX file can hold."""


CPU_GRACE_S = 5
"""From the signal that names the reason, SIGXCPU, to the one that cannot be ignored; see setrlimit(2)."""


@dataclass(frozen=True)
class ChildLimits:
    """What a child may use. ``None`` leaves the kernel's limit."""

    timeout_s: float = 3600.0
    file_size_bytes: int | None = MAX_FILE_BYTES
    address_space_bytes: int | None = None
    resident_bytes: int | None = None
    """memory of the child and its own children together, see ``memory_watch``"""
    cpu_s: int | None = None
    n_processes: int | None = None
    """processes and threads of the user; the kernel does not hold root to it"""
    n_open_files: int | None = None
    network: bool = False
    """whether it may reach others; without, it keeps its loopback only, where the kernel can do that"""

    def __post_init__(self) -> None:
        """Refuse limits that no step could keep."""
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be positive, not {self.timeout_s}")

    def apply(self) -> None:
        """Set the resource limits of the calling process (the child, before it executes)."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # not Linux; anybody may offer itself
            Path("/proc/self/oom_score_adj").write_text(OFFERED_TO_THE_KERNEL)
        if self.file_size_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_size_bytes, self.file_size_bytes))
        if self.address_space_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (self.address_space_bytes, self.address_space_bytes))
        if self.cpu_s is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_s, self.cpu_s + CPU_GRACE_S))
        if self.n_processes is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (self.n_processes, self.n_processes))
        if self.n_open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.n_open_files, self.n_open_files))
        if self.isolates_network:
            isolate_network()

    @property
    def isolates_network(self) -> bool:
        """Whether the child is cut off from the network."""
        return not self.network and can_isolate()


class StepFailed(Exception):
    """A step ended with an error of its own; ``code`` is stable and ``detail`` has the facts."""

    def __init__(self, code: str, message: str, detail: JsonObject | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.detail = detail or {}

    def as_json(self) -> JsonObject:
        """The error as it is stored with the variant."""
        return {"code": self.code, "message": self.message, "detail": self.detail}


async def run_child_step(
    module: str,
    request: Mapping[str, Any],
    *,
    on_event: Callable[[JsonObject], None],
    limits: ChildLimits | None = None,
) -> JsonObject:
    """Run ``python -m module`` with the request on its standard input and return its result.

    ``on_event`` gets every progress event. Raises StepFailed with the step's own error, or ``step_crashed``,
    ``step_timed_out``, ``step_protocol`` where it did not come to one. The process group is gone on return.
    """
    bounds = limits or ChildLimits()
    await asyncio.to_thread(lambda: bounds.isolates_network)  # finds out, once, before the first child is forked
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=bounds.apply,
        limit=MAX_LINE_BYTES,
    )
    watch = MemoryWatch(process.pid, bounds.resident_bytes)
    try:
        with watch:
            async with asyncio.timeout(bounds.timeout_s):
                return await _converse(process, module, request, on_event)
    except TimeoutError:
        raise StepFailed(
            "step_timed_out", f"{module} did not finish within {bounds.timeout_s:g} s; raise step_timeout_s"
        ) from None
    except StepFailed as err:
        if watch.exceeded_bytes is None:
            raise
        raise out_of_memory(module, watch.exceeded_bytes, bounds) from err
    finally:
        await _end_group(process)


async def _converse(
    process: asyncio.subprocess.Process, module: str, request: Mapping[str, Any], on_event: Callable[[JsonObject], None]
) -> JsonObject:
    assert process.stdin is not None
    assert process.stderr is not None
    last_words = asyncio.create_task(_tail(process.stderr))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a child that died at once explains itself below
        process.stdin.write(encode_request(request))
        await process.stdin.drain()
    outcome: JsonObject | None = None
    async for event in _events(process, module):
        if event.get("event") in {"done", "failed"}:
            outcome = event
            break
        on_event(event)
    if outcome is None:
        await process.wait()
        raise crashed(module, process.returncode, await last_words)
    process.stdin.close()
    last_words.cancel()
    if outcome["event"] == "failed":
        raise failure_of(outcome)
    return dict(outcome.get("result") or {})


async def _events(process: asyncio.subprocess.Process, module: str) -> AsyncIterator[JsonObject]:
    assert process.stdout is not None
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError as err:
            raise StepFailed("step_protocol", f"{module} wrote a line of more than {MAX_LINE_BYTES} bytes") from err
        if not line:
            return
        yield decode_event(line, module)


def encode_request(request: Mapping[str, Any]) -> bytes:
    """The one line that a child reads first."""
    return json.dumps(request).encode() + b"\n"


def decode_event(line: bytes, module: str) -> JsonObject:
    """The event on a line of the child's standard output; StepFailed(step_protocol) where there is none."""
    try:
        event = json.loads(line)
    except ValueError as err:
        detail = {"line": line[:200].decode(errors="replace")}
        raise StepFailed("step_protocol", f"{module} wrote a line that is not JSON", detail) from err
    if not isinstance(event, dict):
        raise StepFailed("step_protocol", f"{module} wrote {type(event).__name__} where an event was expected")
    return event


def failure_of(outcome: Mapping[str, Any]) -> StepFailed:
    """The error that a ``failed`` event carries."""
    error = outcome.get("error") or {}
    return StepFailed(
        str(error.get("code", "step_failed")), str(error.get("message", "")), dict(error.get("detail") or {})
    )


def out_of_memory(module: str, used_bytes: int, limits: ChildLimits) -> StepFailed:
    """The error of a step that was ended because it took too much memory."""
    allowed = limits.resident_bytes or 0
    return StepFailed(
        "step_out_of_memory",
        f"{module} used {used_bytes / 2**20:,.0f} MiB of the {allowed / 2**20:,.0f} MiB that a step may; give the recipe a "
        "smaller batch or fewer samples, or raise EDGEFLEET_STEP_MEMORY_BYTES where the worker has more",
        {"used_bytes": used_bytes, "limit_bytes": allowed},
    )


def crashed(module: str, returncode: int | None, last_words: str) -> StepFailed:
    """The error of a child that ended before it had a result."""
    detail: JsonObject = {"returncode": returncode, "last_words": last_words}
    if returncode is not None and returncode < 0:
        name = signal.Signals(-returncode).name
        if name == "SIGXCPU":
            message = f"{module} used more CPU time than a step may; raise EDGEFLEET_STEP_TIMEOUT_S"
            return StepFailed("step_cpu_time_exceeded", message, detail | {"signal": name})
        hint = "; the kernel may have ended it for memory" if name == "SIGKILL" else ""
        return StepFailed("step_crashed", f"{module} was ended by {name}{hint}", detail | {"signal": name})
    return StepFailed("step_crashed", f"{module} ended with status {returncode} before it had a result", detail)


async def _tail(stream: asyncio.StreamReader) -> str:
    kept = b""
    while chunk := await stream.read(4096):
        kept = (kept + chunk)[-LAST_WORDS_BYTES:]
    return kept.decode(errors="replace")


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Kill whatever is left of the child's group and reap the child, also when this task is being cancelled."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
