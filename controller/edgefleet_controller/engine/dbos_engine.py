"""The engine on DBOS: names, configuration and the client that the API process uses.

SQLite in a file of its own by default, PostgreSQL at scale (schema ``dbos``); messages and results are JSON, never
pickles. The API process only enqueues, cancels and sends; workflows run in worker processes.
"""

import logging
import sqlite3
from pathlib import Path

from dbos import DBOSClient, DBOSPortableJSONSerializer, error, run_dbos_database_migrations
from sqlalchemy.exc import SQLAlchemyError

from edgefleet_controller.engine.protocol import RUNS_TOPIC

APPLICATION_NAME = "edgefleet"
APPLICATION_VERSION = "1"
"""Set by hand: DBOS would derive it from the workflows' source, and a changed one strands queued jobs.
Raise it only when a workflow's order of steps changes in a way that old jobs cannot resume."""

JOB_WORKFLOW = "profile_job"
VARIANT_WORKFLOW = "make_variant"
JOBS_QUEUE = "jobs"
COMPRESS_QUEUE = "compress"
QUEUES = (JOBS_QUEUE, COMPRESS_QUEUE)
JOB_PRIORITY = 100
"""Always given: DBOS runs a workflow without a priority before all others."""

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
    """Enqueues, cancels and wakes workflows through the database; needs no worker in this process."""

    def __init__(self, url: str) -> None:
        self._client = DBOSClient(system_database_url=url, serializer=DBOSPortableJSONSerializer())

    def start_job(self, job_id: str) -> None:
        """Enqueue the job's workflow under the job's own identifier, so that a repeat attaches to it."""
        self._client.enqueue(
            {
                "workflow_name": JOB_WORKFLOW,
                "queue_name": JOBS_QUEUE,
                "workflow_id": job_id,
                "app_version": APPLICATION_VERSION,
                "priority": JOB_PRIORITY,
            },
            job_id,
        )

    def cancel_job(self, job_id: str) -> None:
        """Cancel the workflow and its children; their running steps are cancelled and kill their process groups."""
        try:
            self._client.cancel_workflow(job_id, cancel_children=True)
        except error.DBOSNonExistentWorkflowError:
            log.info("job %s has no workflow to cancel", job_id)

    def notify_runs_changed(self, job_id: str) -> None:
        """Send the job's workflow a message; a workflow that is gone needs none."""
        try:
            self._client.send(job_id, "changed", topic=RUNS_TOPIC)
        except error.DBOSNonExistentWorkflowError:
            log.info("job %s has no workflow to notify", job_id)
        except SQLAlchemyError:
            log.warning("job %s was not notified; it looks again by itself", job_id, exc_info=True)

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
