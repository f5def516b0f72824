"""What the API process and the workers ask of an engine, and the tasks that it carries out."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

JsonObject = dict[str, Any]

JOBS_QUEUE = "jobs"
"""Short tasks that only read and write the store."""
CPU_QUEUE = "cpu"
GPU_QUEUE = "gpu"
COMPILE_QUEUE = "compile"
QUEUES = (JOBS_QUEUE, CPU_QUEUE, GPU_QUEUE, COMPILE_QUEUE)


def require_queues(names: Sequence[str]) -> None:
    """ValueError unless these are queues that somebody fills, at least one."""
    unknown = sorted(set(names) - set(QUEUES))
    if unknown or not names:
        raise ValueError(f"unknown queues {unknown}; the queues are {', '.join(QUEUES)}")


BEGIN_JOB = "begin_job"
"""The task that a job starts with; the others follow from it."""

ADVANCE_STUDY = "advance_study"
"""The task that takes a study's turn; ``job_id`` is the study's identifier, ``begun_again`` the number of the turn."""
STUDY_PRIORITY = 1
"""Before all tasks of jobs: it is short, and boards that a study could use stand idle until it is done."""


def study_task(study_id: str, turn: int) -> "Task":
    """The task of this turn; the same for the same turn, so that it is taken once."""
    return Task(ADVANCE_STUDY, study_id, JOBS_QUEUE, STUDY_PRIORITY, begun_again=turn)


@dataclass(frozen=True)
class Task:
    """One durable unit of work. It runs on whichever worker takes it from the queue, and names the tasks that follow it.

    ``priority``: lower numbers are taken first. ``attempt`` counts from 1; ``n_waits`` counts how often it found that
    somebody else does the same work. ``delay_s`` seconds pass before it may be taken. ``begun_again`` counts how often the
    job was: a worker may still hold a task of before, and would take one of the same name for it.
    """

    name: str
    job_id: str
    queue: str
    priority: int
    variant_id: str | None = None
    attempt: int = 1
    n_waits: int = 0
    delay_s: float = 0.0
    begun_again: int = 0

    def __post_init__(self) -> None:
        """Refuse a task that no worker would take."""
        if self.queue not in QUEUES:
            raise ValueError(f"no queue is called {self.queue!r}; the queues are {', '.join(QUEUES)}")
        if self.priority < 1 or self.attempt < 1 or self.delay_s < 0:
            raise ValueError(f"priority and attempt are at least 1 and a delay is not negative: {self}")

    @property
    def identifier(self) -> str:
        """The same for the same work, so that it is enqueued once however often that is asked for."""
        count = f"{self.begun_again}.{self.attempt}.{self.n_waits}"
        return f"{self.job_id}:{self.name}:{self.variant_id or ''}:{count}"

    def as_json(self) -> JsonObject:
        """JSON values that ``from_json`` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Task":
        """The task that ``as_json`` wrote."""
        return cls(**document)


TaskFunction = Callable[[Task], Coroutine[Any, Any, Sequence[Task]]]
"""Carries out a task and returns those that follow. It may run more than once, so it is idempotent; it is cancelled with
its job. An exception means that the store did not take its end: it is run again after a while."""


class Engine(Protocol):
    """Starts and stops the durable work of jobs. All calls may be repeated."""

    def start_job(self, job_id: str, priority: int) -> None:
        """Enqueue the job's first task; a second call for the same job changes nothing."""
        ...

    def restart_job(self, job_id: str, priority: int, begun_again: int) -> None:
        """Forget what was done for the job and begin again, for the how many-th time; only for a job without live tasks."""
        ...

    def start_turn(self, study_id: str, turn: int) -> None:
        """Enqueue the task that takes this turn of the study; a second call for the same turn changes nothing."""
        ...

    def cancel_job(self, job_id: str) -> None:
        """Stop the job's tasks and their child processes."""
        ...

    def live_jobs(self, job_ids: Sequence[str]) -> Collection[str]:
        """Those of the jobs that have a task which waits or runs."""
        ...

    def is_ready(self) -> bool:
        """Whether the engine's own store answers."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
