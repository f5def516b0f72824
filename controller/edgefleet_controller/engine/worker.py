"""A worker process: takes tasks from the queues and carries them out."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID, StepOptions

from edgefleet_agent.wire.log_lines import log_context
from edgefleet_controller.engine.dbos_engine import APPLICATION_NAME, APPLICATION_VERSION, prepare_engine_database
from edgefleet_controller.engine.following import set_at_end_of_stdin
from edgefleet_controller.engine.protocol import JOBS_QUEUE, QUEUES, Task, TaskFunction, require_queues

SHORT_TASKS = 8
"""Tasks of the jobs queue side by side; they only read and write the store."""
LONG_TASKS = 1
"""Tasks of each other queue side by side, in one process. The same for all workers, because DBOS keeps it with the queue:
a host that can do more runs more processes (``--concurrency``)."""

STORE_ATTEMPTS = 6
STORE_DELAY_S = 1.0
"""A task whose end the store did not take is run again after 1, 2, 4, ... s; after the last attempt the watchdog begins
its job again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker takes work.

    ``executor_id`` must stay the same over restarts: a worker resumes what it was doing by that name.
    """

    engine_url: str
    executor_id: str
    queues: tuple[str, ...] = QUEUES
    polling_interval_s: float = 0.2

    def __post_init__(self) -> None:
        """Refuse queues that nobody fills."""
        require_queues(self.queues)


_registered: dict[str, Callable[[dict[str, Any]], Any]] = {}
"""DBOS finds workflows by decorated functions of the process; this is its registry's other half."""


def run_worker(
    options: WorkerOptions, tasks: Mapping[str, TaskFunction], *, stop: threading.Event, follow_stdin: bool
) -> None:
    """Work until ``stop`` is set, by SIGTERM or SIGINT too, and with ``follow_stdin`` until standard input ends."""
    prepare_engine_database(options.engine_url)
    logging.getLogger("dbos").addFilter(_is_not_a_cancellation)
    DBOS(config=_config(options))
    for name, function in tasks.items():
        _registered[name] = _register(name, function)
    DBOS.listen_queues(list(options.queues))
    _stop_on_signals(stop)
    DBOS.launch()
    for queue in QUEUES:
        n_tasks = SHORT_TASKS if queue == JOBS_QUEUE else LONG_TASKS
        DBOS.register_queue(queue, worker_concurrency=n_tasks, polling_interval_sec=options.polling_interval_s)
    if follow_stdin:
        threading.Thread(target=set_at_end_of_stdin, args=(stop,), daemon=True).start()
    log.info("worker %s takes work from %s", options.executor_id, ", ".join(options.queues))
    stop.wait()
    DBOS.destroy()


def _config(options: WorkerOptions) -> DBOSConfig:
    return DBOSConfig(
        name=APPLICATION_NAME,
        system_database_url=options.engine_url,
        application_version=APPLICATION_VERSION,
        executor_id=options.executor_id,
        serializer=DBOSPortableJSONSerializer(),
        log_level="WARNING",
        notification_listener_polling_interval_sec=options.polling_interval_s,
    )


def _register(name: str, function: TaskFunction) -> Callable[[dict[str, Any]], Any]:
    async def workflow(document: dict[str, Any]) -> None:
        task = Task.from_json(document)

        async def carry_out() -> list[dict[str, Any]]:
            with log_context(job_id=task.job_id, variant_id=task.variant_id):
                return [following.as_json() for following in await function(task)]

        options = StepOptions(
            name=name,
            preemptible=True,
            retries_allowed=True,
            max_attempts=STORE_ATTEMPTS,
            interval_seconds=STORE_DELAY_S,
            backoff_rate=2.0,
        )
        for following in await DBOS.run_step_async(options, carry_out):
            await _enqueue(Task.from_json(following))

    workflow.__qualname__ = name
    return DBOS.workflow(name=name)(workflow)


async def _enqueue(task: Task) -> None:
    delay_s = task.delay_s or None
    with SetWorkflowID(task.identifier), SetEnqueueOptions(priority=task.priority, delay_seconds=delay_s):
        await DBOS.enqueue_workflow_async(task.queue, _registered[task.name], task.as_json())


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        log.info("worker stops on %s", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _is_not_a_cancellation(record: logging.LogRecord) -> bool:
    """DBOS logs a person's cancel as an error with a traceback; it is none."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in {"DBOSAwaitedWorkflowCancelledError", "DBOSWorkflowCancelledError"}
