"""What the API process asks of an engine, and what a workflow may ask while it runs."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

RUNS_TOPIC = "runs"
"""Messages to a job's workflow that some of its runs changed."""


class Engine(Protocol):
    """Starts, cancels and wakes the durable workflow of a job. All calls may be repeated."""

    def start_job(self, job_id: str) -> None:
        """Enqueue the job's workflow; a second call for the same job changes nothing."""
        ...

    def cancel_job(self, job_id: str) -> None:
        """Stop the job's workflow and the child processes of its steps."""
        ...

    def notify_runs_changed(self, job_id: str) -> None:
        """Wake the workflow that waits for the job's runs; losing this only costs it a poll interval."""
        ...

    def is_ready(self) -> bool:
        """Whether the engine's own store answers."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class WorkflowContext(Protocol):
    """The durable side of a workflow: what was awaited here once is not done again after a crash."""

    async def step(self, name: str, function: Callable[..., Awaitable[Any]], *arguments: str) -> Any:
        """Run the step, or return what it returned before the crash. It may run more than once, so it is idempotent.

        Arguments and result are JSON values. A cancelled workflow cancels the step's task.
        """
        ...

    async def children(self, workflow: str, queue: str, arguments: Sequence[str]) -> list[Any]:
        """Run one child workflow for each argument on the queue and return their results in order."""
        ...

    async def receive(self, topic: str, timeout_s: float) -> object | None:
        """The next message to this workflow, or None after the time-out."""
        ...


WorkflowFunction = Callable[[WorkflowContext, str], Coroutine[Any, Any, Any]]
"""A workflow takes its context and the identifier it works on."""
