"""A worker process: takes workflows from the queues and runs their steps."""

import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID, StepOptions

from edgefleet_controller.engine.dbos_engine import (
    APPLICATION_NAME,
    APPLICATION_VERSION,
    COMPRESS_QUEUE,
    JOB_PRIORITY,
    JOBS_QUEUE,
    QUEUES,
    prepare_engine_database,
)
from edgefleet_controller.engine.protocol import WorkflowFunction

POLLING_INTERVAL_S = 0.2
JOB_CONCURRENCY = 64
"""Job workflows only wait, so many fit into one worker."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker takes work.

    ``executor_id`` must stay the same over restarts: a worker resumes what it was doing by that name.
    ``compress_concurrency`` compress and compile steps run side by side.
    """

    engine_url: str
    executor_id: str
    queues: tuple[str, ...] = QUEUES
    compress_concurrency: int = 1

    def __post_init__(self) -> None:
        """Refuse queues that nobody fills."""
        unknown = sorted(set(self.queues) - set(QUEUES))
        if unknown or not self.queues:
            raise ValueError(f"unknown queues {unknown}; the queues are {', '.join(QUEUES)}")
        if self.compress_concurrency < 1:
            raise ValueError("compress_concurrency must be at least 1")


class DbosContext:
    """The durable context of the workflow that DBOS runs at this moment."""

    async def step(self, name: str, function: Callable[..., Awaitable[Any]], *arguments: str) -> Any:
        """Run a step that a cancelled workflow interrupts."""

        async def named() -> Any:
            return await function(*arguments)

        return await DBOS.run_step_async(StepOptions(name=name, preemptible=True), named)

    async def children(self, workflow: str, queue: str, arguments: Sequence[str]) -> list[Any]:
        """Enqueue one child for each argument under a derived identifier, then await all of them."""
        handles = []
        for argument in arguments:
            with SetWorkflowID(f"{DBOS.workflow_id}:{argument}"), SetEnqueueOptions(priority=JOB_PRIORITY):
                handles.append(await DBOS.enqueue_workflow_async(queue, _registered[workflow], argument))
        return [await handle.get_result() for handle in handles]

    async def receive(self, topic: str, timeout_s: float) -> object | None:
        """The next message to this workflow or None."""
        message: object | None = await DBOS.recv_async(topic, timeout_seconds=timeout_s)
        return message


_registered: dict[str, Callable[[str], Any]] = {}
"""DBOS finds workflows by decorated functions of the process; this is its registry's other half."""


def run_worker(options: WorkerOptions, workflows: Mapping[str, WorkflowFunction], *, follow_stdin: bool) -> int:
    """Work until SIGTERM or SIGINT, or, with ``follow_stdin``, until standard input ends; returns the exit status."""
    prepare_engine_database(options.engine_url)
    logging.getLogger("dbos").addFilter(_is_not_a_cancellation)
    DBOS(config=_config(options))
    for name, function in workflows.items():
        _registered[name] = _register(name, function)
    DBOS.listen_queues(list(options.queues))
    stop = threading.Event()
    _stop_on_signals(stop)
    DBOS.launch()
    DBOS.register_queue(JOBS_QUEUE, worker_concurrency=JOB_CONCURRENCY, polling_interval_sec=POLLING_INTERVAL_S)
    DBOS.register_queue(
        COMPRESS_QUEUE, worker_concurrency=options.compress_concurrency, polling_interval_sec=POLLING_INTERVAL_S
    )
    if follow_stdin:
        threading.Thread(target=_set_at_end_of_stdin, args=(stop,), daemon=True).start()
    log.info("worker %s takes work from %s", options.executor_id, ", ".join(options.queues))
    stop.wait()
    DBOS.destroy()
    return 0


def _config(options: WorkerOptions) -> DBOSConfig:
    return DBOSConfig(
        name=APPLICATION_NAME,
        system_database_url=options.engine_url,
        application_version=APPLICATION_VERSION,
        executor_id=options.executor_id,
        serializer=DBOSPortableJSONSerializer(),
        log_level="WARNING",
        notification_listener_polling_interval_sec=POLLING_INTERVAL_S,
    )


def _register(name: str, function: WorkflowFunction) -> Callable[[str], Any]:
    async def workflow(identifier: str) -> Any:
        return await function(DbosContext(), identifier)

    workflow.__qualname__ = name
    return DBOS.workflow(name=name)(workflow)


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  # signal's signature
        log.info("worker stops on %s", signal.Signals(signum).name)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _set_at_end_of_stdin(stop: threading.Event) -> None:
    """The parent holds the other end of the pipe; its end is the parent's death."""
    while os.read(0, 4096):  # not sys.stdin: its lock, held by this thread, would break the interpreter's exit
        continue
    stop.set()


def _is_not_a_cancellation(record: logging.LogRecord) -> bool:
    """DBOS logs a person's cancel as an error with a traceback; it is none."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in {"DBOSAwaitedWorkflowCancelledError", "DBOSWorkflowCancelledError"}
