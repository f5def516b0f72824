"""Where the child process of a step runs: on the worker's own host, or on another machine of a cluster."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edgefleet_controller.engine.child_process import ChildLimits, run_child_step

JsonObject = dict[str, Any]


class StepExecutor(Protocol):
    """Runs ``python -m module`` with one request and returns its result; see ``child_process`` for the protocol."""

    async def run(
        self,
        module: str,
        request: Mapping[str, Any],
        *,
        on_event: Callable[[JsonObject], None],
        limits: ChildLimits,
    ) -> JsonObject:
        """The step's result. ``on_event`` gets every progress event; raises StepFailed.

        However it ends, by a result, an error, a time-out or the cancellation of the caller, the step's processes are
        gone soon after.
        """
        ...


class SubprocessExecutor:
    """The worker's own host."""

    async def run(
        self,
        module: str,
        request: Mapping[str, Any],
        *,
        on_event: Callable[[JsonObject], None],
        limits: ChildLimits,
    ) -> JsonObject:
        """Run the step in a process group of its own, which is gone on return."""
        return await run_child_step(module, request, on_event=on_event, limits=limits)
