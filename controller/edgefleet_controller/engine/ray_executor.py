"""Runs a step on a Ray cluster (extra ``ray``); Ray schedules, the job's durability stays with the engine.

The step is the same child process on another machine: a Ray task starts it and passes its events on. What must be the
same there: the installed edgefleet, and the folder ``work`` of the data directory and the file store at the same paths,
for a step reads and writes files. A cancelled step cancels its task by force; Ray ends the process that ran it, and the
child ends itself by the end of its standard input. Ray never repeats a task here: whether a step is tried again is decided
by ``retries``.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgefleet_controller.engine.child_process import (
    LAST_WORDS_BYTES,
    ChildLimits,
    StepFailed,
    crashed,
    decode_event,
    encode_request,
    failure_of,
    out_of_memory,
)
from edgefleet_controller.engine.isolation import can_isolate
from edgefleet_controller.engine.memory_watch import MemoryWatch

JsonObject = dict[str, Any]

ENDED = "ended"
"""Our own last event: how the child ended without an outcome of its own."""


class RayMissing(Exception):
    """Ray is not installed: install edgefleet with the extra `ray`, or set step_executor to subprocess."""

    code = "ray_missing"


class RayExecutor:
    """A Ray cluster; ``address`` as in ``ray.init``, None starts a local one that ends with this process."""

    def __init__(self, address: str | None = None, *, n_cpus: float = 1.0, n_gpus: float = 0.0) -> None:
        try:
            import ray
        except ModuleNotFoundError as err:
            raise RayMissing(RayMissing.__doc__) from err
        self._ray = ray
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        options = {"num_cpus": n_cpus, "num_gpus": n_gpus, "max_retries": 0, "num_returns": "streaming"}
        self._events = ray.remote(**options)(child_events)

    async def run(
        self,
        module: str,
        request: Mapping[str, Any],
        *,
        on_event: Callable[[JsonObject], None],
        limits: ChildLimits,
    ) -> JsonObject:
        """The step's result; ``step_crashed`` where the cluster lost the process that ran it."""
        stream = self._events.remote(module, dict(request), limits)
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await self._follow(stream, module, on_event)
        except TimeoutError:
            raise StepFailed(
                "step_timed_out", f"{module} did not finish within {limits.timeout_s:g} s; raise step_timeout_s"
            ) from None
        except self._ray.exceptions.RayError as err:
            raise StepFailed("step_crashed", f"Ray lost the process that ran {module}: {err}") from err
        finally:
            self._ray.cancel(stream, force=True)

    async def _follow(self, stream: Any, module: str, on_event: Callable[[JsonObject], None]) -> JsonObject:
        async for reference in stream:
            event: JsonObject = await reference
            if event["event"] == "done":
                return dict(event.get("result") or {})
            if event["event"] == "failed":
                raise failure_of(event)
            if event["event"] == ENDED:
                raise crashed(module, event["returncode"], event["last_words"])
            on_event(event)
        raise StepFailed("step_protocol", f"{module} ended without a result")


def child_events(module: str, request: JsonObject, limits: ChildLimits) -> Iterator[JsonObject]:
    """Run the child on this machine and yield its events, the outcome last; what a Ray task carries out."""
    can_isolate()  # finds out, once, before the first child is forked
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=limits.apply,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    last_words: list[bytes] = [b""]
    reader = threading.Thread(target=_keep_last_words, args=(process, last_words), daemon=True)
    reader.start()
    try:
        with MemoryWatch(process.pid, limits.resident_bytes) as watch:
            process.stdin.write(encode_request(request))
            process.stdin.flush()
            for line in process.stdout:
                event = decode_event(line, module)
                yield event
                if event["event"] in {"done", "failed"}:
                    return
            process.wait()
        reader.join()
        if watch.exceeded_bytes is not None:
            raise out_of_memory(module, watch.exceeded_bytes, limits)
        words = last_words[0].decode(errors="replace")
        yield {"event": ENDED, "returncode": process.returncode, "last_words": words}
    except StepFailed as err:
        yield {"event": "failed", "error": err.as_json()}
    finally:
        process.kill()
        process.wait()


def _keep_last_words(process: "subprocess.Popen[bytes]", last_words: list[bytes]) -> None:
    assert process.stderr is not None
    while chunk := process.stderr.read1(4096):  # type: ignore[attr-defined]  # a pipe's reader is buffered
        last_words[0] = (last_words[0] + chunk)[-LAST_WORDS_BYTES:]
