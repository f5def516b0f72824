"""An engine without durability, for tests of the API and of the workflows' logic."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from edgefleet_controller.engine.protocol import WorkflowFunction


class InMemoryEngine:
    """Records what was asked of it; starts nothing."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.notified: list[str] = []
        self.closed = False

    def start_job(self, job_id: str) -> None:
        """Remember the job once."""
        if job_id not in self.started:
            self.started.append(job_id)

    def cancel_job(self, job_id: str) -> None:
        """Remember the cancellation."""
        self.cancelled.append(job_id)

    def notify_runs_changed(self, job_id: str) -> None:
        """Remember the message."""
        self.notified.append(job_id)

    def is_ready(self) -> bool:
        """Whether it was not closed."""
        return not self.closed

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class InMemoryContext:
    """Runs steps and children in place, remembering results by name as a durable engine does.

    Hand the same ``memory`` to a second context to resume after an exception: finished steps are not run again.
    """

    def __init__(
        self,
        workflows: Mapping[str, WorkflowFunction],
        *,
        memory: dict[str, Any] | None = None,
        messages: "asyncio.Queue[object] | None" = None,
        prefix: str = "",
    ) -> None:
        self._workflows = workflows
        self.memory: dict[str, Any] = {} if memory is None else memory
        self._messages = messages or asyncio.Queue()
        self._prefix = prefix
        self._n_steps = 0

    async def step(self, name: str, function: Callable[..., Awaitable[Any]], *arguments: str) -> Any:
        """Run the step unless its result is remembered."""
        self._n_steps += 1
        key = f"{self._prefix}{self._n_steps}:{name}"
        if key not in self.memory:
            self.memory[key] = await function(*arguments)
        return self.memory[key]

    async def children(self, workflow: str, queue: str, arguments: Sequence[str]) -> list[Any]:  # noqa: ARG002
        """Run the child workflows one after the other; the queue makes no difference here."""
        return [await self._child(workflow, argument) for argument in arguments]

    async def _child(self, workflow: str, argument: str) -> Any:
        context = InMemoryContext(
            self._workflows, memory=self.memory, messages=self._messages, prefix=f"{self._prefix}{workflow}/{argument}/"
        )
        return await self._workflows[workflow](context, argument)

    async def receive(self, topic: str, timeout_s: float) -> object | None:  # noqa: ARG002
        """The next message if there is one now; time does not pass here."""
        return None if self._messages.empty() else self._messages.get_nowait()
