"""The tasks of a job and what follows each; see ``engine.protocol.Task``.

begin_job -> prepare_data -> compress_variant -> compile_variant -> dispatch_variant, the last three for every variant.
What the caches hold is not queued: a variant whose artifact exists goes straight to the boards. Each task may run more
than once: files are content-addressed, rows keyed, states monotone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from edgefleet_controller.engine.protocol import (
    ADVANCE_STUDY,
    BEGIN_JOB,
    COMPILE_QUEUE,
    CPU_QUEUE,
    GPU_QUEUE,
    JOBS_QUEUE,
    Task,
    TaskFunction,
)
from edgefleet_controller.engine.retries import decide_retry
from edgefleet_controller.studies.advancing import take_turn
from edgefleet_controller.workflows.compiling import make_artifact, reuse_compiled
from edgefleet_controller.workflows.compressing import make_candidate, reuse_candidate
from edgefleet_controller.workflows.dispatching import dispatch
from edgefleet_controller.workflows.failures import as_step_failure
from edgefleet_controller.workflows.journal import StartedJob
from edgefleet_controller.workflows.keys import data_key
from edgefleet_controller.workflows.preparing import prepare_data
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_controller.workflows.workbench import Workbench

PREPARE_DATA = "prepare_data"
COMPRESS_VARIANT = "compress_variant"
COMPILE_VARIANT = "compile_variant"
DISPATCH_VARIANT = "dispatch_variant"

COMPUTE_QUEUES = {"cpu": CPU_QUEUE, "gpu": GPU_QUEUE}
WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between two looks at work that another variant's worker is doing; the last one is repeated."""


class HostSteps:
    """Carries out tasks on this host."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._journal = bench.journal

    def tasks(self) -> Mapping[str, TaskFunction]:
        """The tasks by name."""
        return {
            BEGIN_JOB: self.begin_job,
            PREPARE_DATA: self.prepare_data,
            COMPRESS_VARIANT: self.compress_variant,
            COMPILE_VARIANT: self.compile_variant,
            DISPATCH_VARIANT: self.dispatch_variant,
            ADVANCE_STUDY: self.advance_study,
        }

    async def begin_job(self, task: Task) -> Sequence[Task]:
        """Mark the job as running and queue the first work of each of its variants."""
        started = await asyncio.to_thread(self._journal.start_job, task.job_id)
        if started is None:
            return []
        if not started.is_prepared and not await asyncio.to_thread(self._reuse_data, started):
            return [replace(task, name=PREPARE_DATA, queue=CPU_QUEUE)]
        return await asyncio.to_thread(self._plan, started, task.begun_again)

    async def prepare_data(self, task: Task) -> Sequence[Task]:
        """Write the job's evaluation set, then queue the first work of its variants; an error ends the job."""
        started = await asyncio.to_thread(self._journal.start_job, task.job_id)
        if started is None:
            return []
        try:
            # of a sweep's jobs, all queued before the first was prepared, only that one has to be
            if not started.is_prepared and not await asyncio.to_thread(self._reuse_data, started):
                await prepare_data(self._bench, started)
            return await asyncio.to_thread(self._plan, started, task.begun_again)
        except Exception as err:  # noqa: BLE001  # the rim of the task: every end is recorded with the job
            failure = as_step_failure(err)
            decision = decide_retry(failure.code, task.attempt)
            if decision.retry:
                message = f"data: {failure.code}; tried again in {decision.delay_s:g} s, {decision.reason}"
                await asyncio.to_thread(self._journal.say, task.job_id, message)
                return [replace(task, attempt=task.attempt + 1, delay_s=decision.delay_s)]
            await asyncio.to_thread(self._journal.fail_job, task.job_id, failure.as_json())
            return []

    async def compress_variant(self, task: Task) -> Sequence[Task]:
        """Make the candidate or take the cached one; then it is compiled."""
        return await self._guarded(task, "compressing", make_candidate, COMPILE_VARIANT, COMPILE_QUEUE)

    async def compile_variant(self, task: Task) -> Sequence[Task]:
        """Compile the candidate or take the cached artifact; then it is dispatched."""
        return await self._guarded(task, "compiling", make_artifact, DISPATCH_VARIANT, JOBS_QUEUE)

    async def dispatch_variant(self, task: Task) -> Sequence[Task]:
        """Queue a run for each device and settings of the job."""
        assert task.variant_id is not None
        try:
            await asyncio.to_thread(dispatch, self._bench.database, task.variant_id)
        except Exception as err:  # noqa: BLE001  # the rim of the task: every end is recorded with the variant
            variant = await asyncio.to_thread(self._journal.look_up, task.variant_id)
            return await self._after_failure(task, variant, "dispatching", err)
        return []

    async def advance_study(self, task: Task) -> Sequence[Task]:
        """Take a study's turn, and begin the jobs that it made."""
        begun = await asyncio.to_thread(take_turn, self._bench.database, task.job_id, task.begun_again)
        return [Task(BEGIN_JOB, job_id, JOBS_QUEUE, priority) for job_id, priority in begun.items()]

    async def _guarded(
        self,
        task: Task,
        state: str,
        work: Callable[[Workbench, VariantWork], Awaitable[bool]],
        following: str,
        queue: str,
    ) -> Sequence[Task]:
        assert task.variant_id is not None
        variant = await asyncio.to_thread(self._journal.enter, task.variant_id, state)
        if variant is None:
            return []
        try:
            is_done = await work(self._bench, variant)
        except Exception as err:  # noqa: BLE001  # the rim of the task: every end is recorded with the variant
            return await self._after_failure(task, variant, state, err)
        if not is_done:
            if task.n_waits == 0:
                message = f"{variant.name}: waits for the same work of another variant"
                await asyncio.to_thread(self._journal.note, variant, "waits_for_same", message)
            return [replace(task, n_waits=task.n_waits + 1, delay_s=WAITS_S[min(task.n_waits, len(WAITS_S) - 1)])]
        return [replace(task, name=following, queue=queue, attempt=1, n_waits=0, delay_s=0.0)]

    async def _after_failure(self, task: Task, variant: VariantWork, state: str, err: Exception) -> Sequence[Task]:
        failure = as_step_failure(err)
        decision = decide_retry(failure.code, task.attempt)
        if not decision.retry:
            if task.attempt > 1:
                failure.detail["attempts"] = task.attempt
            await asyncio.to_thread(self._journal.fail_variant, variant, state, failure.as_json())
            return []
        message = (
            f"{variant.name}: {state} failed in attempt {task.attempt} with {failure.code}; tried again in "
            f"{decision.delay_s:g} s: {decision.reason}"
        )
        detail = {"error": failure.as_json(), "attempt": task.attempt, "delay_s": decision.delay_s}
        await asyncio.to_thread(self._journal.note, variant, "step_retried", message, **detail)
        return [replace(task, attempt=task.attempt + 1, delay_s=decision.delay_s)]

    def _reuse_data(self, job: StartedJob) -> bool:
        key_sha256 = data_key(job.model_sha256, job.data)
        return self._journal.reuse_prepared_data(job, key_sha256, self._bench.blobs.exists)

    def _plan(self, job: StartedJob, begun_again: int) -> Sequence[Task]:
        """The first task of each variant that has not ended, past what the caches hold."""
        planned = [self._first_task(self._journal.look_up(variant_id)) for variant_id in job.variant_ids]
        found = [replace(task, begun_again=begun_again) for task in planned if task is not None]
        if not found:
            self._journal.close_if_done(job.job_id)
        return found

    def _first_task(self, variant: VariantWork) -> Task | None:
        if variant.is_stopped or variant.is_dispatched:
            return None
        name, queue = COMPRESS_VARIANT, COMPUTE_QUEUES[variant.compute]
        if variant.artifact_key is not None:
            name, queue = DISPATCH_VARIANT, JOBS_QUEUE
        elif reuse_candidate(self._bench, variant):
            is_compiled = reuse_compiled(self._bench, self._journal.look_up(variant.variant_id))
            name, queue = (DISPATCH_VARIANT, JOBS_QUEUE) if is_compiled else (COMPILE_VARIANT, COMPILE_QUEUE)
        return Task(name, variant.job_id, queue, variant.fair_tag, variant_id=variant.variant_id)
