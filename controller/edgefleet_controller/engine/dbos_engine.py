"""The engine on DBOS: names, configuration and the client that the API process and the watchdog use.

SQLite in a file of its own by default, PostgreSQL at scale (schema ``dbos``); messages and results are JSON, never
pickles. The API process only enqueues and cancels; tasks run in worker processes. Each task is a workflow of one step
that enqueues what follows it, so nothing waits inside a worker, and each step may run on another machine.
"""

import logging
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

from dbos import DBOSClient, DBOSPortableJSONSerializer, WorkflowStatus, run_dbos_database_migrations
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.engine.protocol import BEGIN_JOB, JOBS_QUEUE, Task, study_task

APPLICATION_NAME = "edgefleet"
APPLICATION_VERSION = "2"
"""Set by hand: DBOS would derive it from the workflows' source, and a changed one strands queued jobs.
Raise it only when tasks change in a way that old ones cannot go on; the watchdog begins their jobs again."""

LIVE = ["ENQUEUED", "DELAYED", "PENDING"]
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
PAGE = 1000

log = logging.getLogger(__name__)


def prepare_engine_database(url: str) -> None:
    """Create or upgrade DBOS's tables; puts SQLite into WAL mode first, which DBOS does not do itself."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    run_dbos_database_migrations(url)


class DbosEngine:
    """Enqueues, stops and takes back tasks through the database; needs no worker in this process."""

    def __init__(self, url: str) -> None:
        self._client = DBOSClient(system_database_url=url, serializer=DBOSPortableJSONSerializer())

    def start_job(self, job_id: str, priority: int) -> None:
        """Enqueue the job's first task under an identifier of the job's own, so that a repeat attaches to it."""
        self._start(Task(BEGIN_JOB, job_id, JOBS_QUEUE, priority))

    def _start(self, task: Task) -> None:
        self._client.enqueue(
            {
                "workflow_name": task.name,
                "queue_name": task.queue,
                "workflow_id": task.identifier,
                "app_version": APPLICATION_VERSION,
                "priority": task.priority,
            },
            task.as_json(),
        )

    def restart_job(self, job_id: str, priority: int, begun_again: int) -> None:
        """Begin again under identifiers of its own; finished work is found by the caches of the store.

        The earlier tasks stay until they are purged: a worker that still runs one of them learns of its end from its record.
        """
        self._start(Task(BEGIN_JOB, job_id, JOBS_QUEUE, priority, begun_again=begun_again))

    def start_turn(self, study_id: str, turn: int) -> None:
        """Enqueue the turn's task under an identifier of its own, so that a repeat attaches to it."""
        self._start(study_task(study_id, turn))

    def cancel_job(self, job_id: str) -> None:
        """Cancel the job's tasks; their running steps are cancelled and kill their process groups."""
        ids = [status.workflow_id for status in self._tasks_of(job_id, LIVE)]
        if ids:
            self._client.cancel_workflows(ids)

    def live_jobs(self, job_ids: Sequence[str]) -> Collection[str]:
        """Those of the jobs that have a task of this version which waits or runs."""
        found = self._list(LIVE, prefix=[f"{job_id}:" for job_id in job_ids], app_version=APPLICATION_VERSION)
        return {status.workflow_id.partition(":")[0] for status in found}

    def take_back(self, executor_id: str) -> list[str]:
        """Queue again what this executor was running when it died; returns the tasks' identifiers.

        Finished steps are not run again. Only for an executor that certainly runs no more: see ``watchdog``.
        """
        held = self._list(["PENDING"], executor_id=executor_id, load_input=True)
        taken = []
        for status in held:
            self._client.resume_workflow(status.workflow_id, queue_name=_queue_of(status))
            taken.append(status.workflow_id)
        return taken

    def purge(self, ended_before: datetime) -> int:
        """Delete the engine's record of tasks that ended before; returns their number. Jobs keep theirs in the store."""
        n_deleted = 0
        while True:
            found = self._client.list_workflows(
                status=ENDED,
                completed_before=ended_before.isoformat(),
                limit=PAGE,
                load_input=False,
                load_output=False,
            )
            if not found:
                return n_deleted
            self._client.delete_workflows([status.workflow_id for status in found])
            n_deleted += len(found)

    def is_ready(self) -> bool:
        """Whether the engine's database answers."""
        try:
            self._client.check_connection()
        except SQLAlchemyError:
            return False
        return True

    def close(self) -> None:
        """Release the connections."""
        self._client.destroy()

    def _tasks_of(self, job_id: str, states: Sequence[str] = ()) -> list[WorkflowStatus]:
        return self._list(states, prefix=f"{job_id}:")

    def _list(
        self,
        states: Sequence[str],
        *,
        prefix: str | list[str] | None = None,
        executor_id: str | None = None,
        app_version: str | None = None,
        load_input: bool = False,
    ) -> list[WorkflowStatus]:
        return self._client.list_workflows(
            status=list(states) or None,
            workflow_id_prefix=prefix,
            executor_id=executor_id,
            app_version=app_version,
            load_input=load_input,
            load_output=False,
        )


def _queue_of(status: WorkflowStatus) -> str:
    """The queue that the task belongs to: a recovered one has lost its own and keeps it in its argument alone."""
    arguments = status.input["args"] if status.input else ()
    return Task.from_json(arguments[0]).queue if arguments else JOBS_QUEUE
