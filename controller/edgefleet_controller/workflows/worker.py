"""Puts a worker together: the tasks of this host, its heartbeat and its watchdog."""

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from edgefleet_controller.blobs.opening import open_blob_store
from edgefleet_controller.clock import SystemClock
from edgefleet_controller.db.database import Database
from edgefleet_controller.engine.dbos_engine import DbosEngine, prepare_engine_database
from edgefleet_controller.engine.protocol import COMPILE_QUEUE, CPU_QUEUE, GPU_QUEUE, JOBS_QUEUE
from edgefleet_controller.engine.step_limits import step_limits
from edgefleet_controller.engine.worker import WorkerOptions, run_worker
from edgefleet_controller.settings import Settings
from edgefleet_controller.workers.presence import WorkerNameTaken, WorkerPresence, beat_until
from edgefleet_controller.workers.watchdog import Watchdog, WatchRules, start_thread
from edgefleet_controller.workflows.claims import StepClaims
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.journal import Journal
from edgefleet_controller.workflows.steps import HostSteps
from edgefleet_controller.workflows.workbench import Workbench

NVIDIA_DEVICE = Path("/dev/nvidiactl")
"""There where NVIDIA's driver is loaded (CUDA installation guide for Linux, "Device Node Verification")."""


def default_queues() -> tuple[str, ...]:
    """All queues that this host can serve: that of the GPU where there is a driver."""
    return (JOBS_QUEUE, CPU_QUEUE, COMPILE_QUEUE, *((GPU_QUEUE,) if NVIDIA_DEVICE.exists() else ()))


def start_worker(
    settings: Settings, *, name: str, queues: tuple[str, ...], follow_stdin: bool, compute: HostCompute | None = None
) -> None:
    """Work until told to stop. ValueError for options that cannot work, WorkerNameTaken for a name in use.

    compute: what runs the steps' child processes; a test's own, or this host's.
    """
    options = WorkerOptions(
        settings.resolved_engine_url, name, queues or default_queues(), polling_interval_s=settings.queue_poll_s
    )
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    database = Database.from_url(settings.resolved_database_url)
    with _only_process_of(settings.work_dir, name):
        prepare_engine_database(options.engine_url)
        engine = DbosEngine(options.engine_url)
        presence = WorkerPresence(database, name, options.queues, timeout_s=settings.worker_timeout_s)
        presence.register()
        bench = Workbench(
            database=database,
            blobs=open_blob_store(settings),
            clock=SystemClock(),
            compute=compute or _host_compute(settings, options.queues),
            threads=settings.step_threads or os.cpu_count() or 1,
            journal=Journal(database),
            claims=StepClaims(database, presence.incarnation),
        )
        stop = threading.Event()
        watchdog = Watchdog(database, engine, bench.clock, holder=presence.incarnation, rules=watch_rules(settings))
        start_thread(partial(beat_until, stop, presence, settings.worker_heartbeat_s), "heartbeat")
        start_thread(partial(watchdog.run, stop), "watchdog")
        try:
            run_worker(options, HostSteps(bench).tasks(), stop=stop, follow_stdin=follow_stdin)
            presence.leave(engine.take_back)
        finally:
            stop.set()
            engine.close()
            database.dispose()


def _host_compute(settings: Settings, queues: Sequence[str]) -> HostCompute:
    limits = step_limits(settings)
    if settings.step_executor == "subprocess":
        return HostCompute(settings.work_dir, limits=limits)
    from edgefleet_controller.engine.ray_executor import RayExecutor

    # one task of each queue runs at a time, so a worker of the gpu queue asks for one GPU
    executor = RayExecutor(
        settings.ray_address, n_cpus=float(settings.step_threads or 1), n_gpus=1.0 if GPU_QUEUE in queues else 0.0
    )
    return HostCompute(settings.work_dir, limits=limits, executor=executor)


def watch_rules(settings: Settings) -> WatchRules:
    """How the workers watch over each other."""
    return WatchRules(
        interval_s=settings.worker_heartbeat_s,
        timeout_s=settings.worker_timeout_s,
        retention_s=settings.engine_retention_days * 86400.0,
    )


@contextmanager
def _only_process_of(work_dir: Path, name: str) -> Iterator[None]:
    """One process of a name on this host: two would take each other's tasks for their own."""
    path = work_dir / f"worker-{name.replace('/', '_')}.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkerNameTaken(
                f"A worker called {name!r} runs on this host already. Give this one another name with --name."
            ) from None
        yield
