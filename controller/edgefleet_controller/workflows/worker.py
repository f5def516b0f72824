"""Puts a worker together: the steps of this host and the workflows that use them."""

import os

from edgefleet_controller.blobs.opening import open_blob_store
from edgefleet_controller.clock import SystemClock
from edgefleet_controller.db.database import Database
from edgefleet_controller.engine.child_process import ChildLimits
from edgefleet_controller.engine.dbos_engine import COMPRESS_QUEUE, JOB_WORKFLOW, QUEUES, VARIANT_WORKFLOW
from edgefleet_controller.engine.worker import WorkerOptions, run_worker
from edgefleet_controller.settings import Settings
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.profile_job import job_workflows
from edgefleet_controller.workflows.steps import HostSteps


def start_worker(
    settings: Settings, *, name: str, queues: tuple[str, ...], concurrency: int, follow_stdin: bool
) -> int:
    """Work until told to stop; returns the exit status. ValueError for options that cannot work."""
    options = WorkerOptions(
        engine_url=settings.resolved_engine_url,
        executor_id=name,
        queues=queues or QUEUES,
        compress_concurrency=concurrency,
    )
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    database = Database.from_url(settings.resolved_database_url)
    steps = HostSteps(
        database=database,
        blobs=open_blob_store(settings),
        clock=SystemClock(),
        compute=HostCompute(settings.work_dir, limits=ChildLimits(timeout_s=settings.step_timeout_s)),
        threads=max(1, (os.cpu_count() or 1) // concurrency),
    )
    workflows = job_workflows(steps, job_name=JOB_WORKFLOW, variant_name=VARIANT_WORKFLOW, queue=COMPRESS_QUEUE)
    try:
        return run_worker(options, workflows, follow_stdin=follow_stdin)
    finally:
        database.dispose()
