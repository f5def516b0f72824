"""Runs a compress or compile step on this host: host lock, scratch folder, child process, progress."""

import asyncio
import fcntl
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgefleet_agent.wire.host_lock import hold_for_compute
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed
from edgefleet_controller.engine.executors import StepExecutor, SubprocessExecutor
from edgefleet_controller.workflows.prefixes import PrefixShelf

JsonObject = dict[str, Any]

PROGRESS_INTERVAL_S = 1.0

KEPT_FOR = timedelta(days=7)
"""How long a folder of a killed step waits for the step to be begun again."""

WORTH_TAKING_UP = frozenset({"step_crashed", "step_timed_out", "step_out_of_memory", "step_cpu_time_exceeded"})
"""Ends after which the same request may get further; any other failure of its own would come again."""


class _GivenUp(Exception):
    """The step was cancelled while it waited for the host."""


class HostCompute:
    """Gives steps the host: never beside a measurement of an agent on the same host."""

    def __init__(
        self,
        work_dir: Path,
        *,
        limits: ChildLimits,
        lock_dir: Path | None = None,
        executor: StepExecutor | None = None,
    ) -> None:
        self._work_dir = work_dir
        self.prefixes = PrefixShelf(work_dir / "prefixes")
        """finished trainings that other recipes may begin with"""
        self._executor = executor or SubprocessExecutor()
        self._limits = limits
        self._lock_dir = lock_dir

    @asynccontextmanager
    async def scratch(self, name: str) -> AsyncIterator[Path]:
        """An empty folder for one step, removed afterwards; what a killed attempt left in it is removed first."""
        folder = self._work_dir / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def kept(self, key_sha256: str) -> AsyncIterator[Path | None]:
        """A folder that outlives a killed step, for the next attempt at the same work (named by its key).

        Removed when the work is done or fails for good. None while another step of this host does the same work.
        """
        base = self._work_dir / "checkpoints"
        folder = base / key_sha256
        base.mkdir(parents=True, exist_ok=True)
        _remove_old(base)
        with (base / f"{key_sha256}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            try:
                yield folder
            except StepFailed as err:
                if err.code not in WORTH_TAKING_UP:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)

    async def run(
        self, module: str, request: Mapping[str, Any], *, report: Callable[[str, JsonObject], None]
    ) -> JsonObject:
        """Run the step's child and return its result. ``report(message, event)`` is called about once a second, in a
        thread; raises StepFailed.
        """
        async with self._host(report):
            latest: list[JsonObject] = []
            reporter = asyncio.create_task(_report_regularly(latest, report))
            try:
                return await self._executor.run(
                    module,
                    request,
                    on_event=lambda event: latest.__setitem__(slice(None), [event]),
                    limits=self._limits,
                )
            finally:
                reporter.cancel()

    @asynccontextmanager
    async def _host(self, report: Callable[[str, JsonObject], None]) -> AsyncIterator[None]:
        """Hold the host; waiting happens in a thread, which a cancelled step tells to give up."""
        given_up, told = threading.Event(), threading.Event()
        stack = ExitStack()

        def on_wait(_: float) -> None:
            if given_up.is_set():
                raise _GivenUp
            if not told.is_set():
                told.set()
                report("waits for a measurement on this host to end", {})

        acquiring = asyncio.create_task(
            asyncio.to_thread(lambda: stack.enter_context(hold_for_compute(self._lock_dir, on_wait=on_wait)))
        )
        try:
            await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            given_up.set()
            await asyncio.wait([acquiring])
            stack.close()
            raise
        with stack:
            yield


async def _report_regularly(latest: list[JsonObject], report: Callable[[str, JsonObject], None]) -> None:
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL_S)
        if latest:
            event = latest.pop()
            await asyncio.to_thread(report, str(event.get("message", "")), event)


def _remove_old(base: Path) -> None:
    """Remove what nobody came back for: jobs that were cancelled, models that were deleted."""
    oldest = (datetime.now(UTC) - KEPT_FOR).timestamp()
    for path in base.iterdir():
        if path.is_dir() and path.stat().st_mtime < oldest:
            shutil.rmtree(path, ignore_errors=True)


def named_link(folder: Path, name: str, target: Path) -> Path:
    """A name with the extension that tools go by, for a content-addressed file."""
    link = folder / name
    link.symlink_to(target)
    return link


def result_file(folder: Path, result: Mapping[str, Any], field: str) -> Path:
    """The file that the step's result names, which must lie in its own output folder."""
    name = str(result.get(field, ""))
    path = folder / "out" / name
    if not name or "/" in name or path.is_symlink() or not path.is_file():
        raise StepFailed("step_protocol", f"the step's result names no file for {field!r}: {name!r}")
    return path
