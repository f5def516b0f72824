"""An engine without durability, for tests of the API and of the tasks' logic."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence

from edgefleet_controller.engine.protocol import BEGIN_JOB, JOBS_QUEUE, Task, TaskFunction


class InMemoryEngine:
    """Records what was asked of it; starts nothing."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.restarted: list[str] = []
        self.cancelled: list[str] = []
        self.turns: list[tuple[str, int]] = []
        self.priorities: dict[str, int] = {}
        self.live: set[str] = set()
        self.closed = False

    def start_job(self, job_id: str, priority: int) -> None:
        """Remember the job once."""
        if job_id not in self.started:
            self.started.append(job_id)
            self.priorities[job_id] = priority

    def restart_job(self, job_id: str, priority: int, begun_again: int) -> None:  # noqa: ARG002 - the signature of all
        """Remember that it was begun again."""
        self.restarted.append(job_id)
        self.priorities[job_id] = priority

    def start_turn(self, study_id: str, turn: int) -> None:
        """Remember the turn once."""
        if (study_id, turn) not in self.turns:
            self.turns.append((study_id, turn))

    def cancel_job(self, job_id: str) -> None:
        """Remember the cancellation."""
        self.cancelled.append(job_id)
        self.live.discard(job_id)

    def live_jobs(self, job_ids: Sequence[str]) -> Collection[str]:
        """Those of the jobs that a test put into ``live``."""
        return self.live & set(job_ids)

    def is_ready(self) -> bool:
        """Whether it was not closed."""
        return not self.closed

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


async def run_tasks(
    tasks: Mapping[str, TaskFunction], job_id: str, *, done: list[Task] | None = None, limit: int = 10_000
) -> list[Task]:
    """Carry out a job's tasks in this process, lowest priority number first, without waiting for delays.

    Returns the tasks in the order in which they were carried out.
    """
    carried_out: list[Task] = [] if done is None else done
    waiting = deque([Task(BEGIN_JOB, job_id, JOBS_QUEUE, 1)])
    while waiting:
        if len(carried_out) >= limit:
            raise RuntimeError(f"the job did not end after {limit} tasks")
        task = min(waiting, key=lambda waits: waits.priority)
        waiting.remove(task)
        waiting.extend(await tasks[task.name](task))
        carried_out.append(task)
    return carried_out
