"""The life of a job: prepare the data, make each variant, send it to the boards, wait, finish.

Pure control flow over ``JobSteps``; every step may run again after a crash, so each is idempotent.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from edgefleet_controller.engine.protocol import RUNS_TOPIC, WorkflowContext, WorkflowFunction

RUNS_POLL_S = 30.0
"""The longest wait before looking at the runs again, should a message be lost."""


class JobSteps(Protocol):
    """The work of a job; see ``workflows.steps``. Arguments are identifiers, results JSON values."""

    async def begin(self, job_id: str) -> list[str]:
        """Mark the job as running, prepare its data and return its variants' identifiers; empty when that failed."""
        ...

    async def compress(self, variant_id: str) -> bool:
        """Make the variant's candidate, or take it from the cache; False when it failed (recorded on the variant)."""
        ...

    async def compile(self, variant_id: str) -> bool:
        """Compile the candidate for the variant's target; False when it failed."""
        ...

    async def dispatch(self, variant_id: str) -> bool:
        """Queue one run for each of the job's devices; False when the job was cancelled meanwhile."""
        ...

    async def count_unfinished_runs(self, job_id: str) -> int:
        """How many of the job's runs are queued or leased."""
        ...

    async def finish(self, job_id: str) -> str:
        """Close the job and return its state."""
        ...


def job_workflows(steps: JobSteps, *, job_name: str, variant_name: str, queue: str) -> Mapping[str, WorkflowFunction]:
    """The two workflows by name: the job, and one child for each variant on the given queue."""

    async def make_variant(context: WorkflowContext, variant_id: str) -> bool:
        for name, step in (("compress", steps.compress), ("compile", steps.compile), ("dispatch", steps.dispatch)):
            if not await context.step(name, step, variant_id):
                return False
        return True

    async def profile_job(context: WorkflowContext, job_id: str) -> Any:
        variants = await context.step("begin", steps.begin, job_id)
        await context.children(variant_name, queue, variants)
        while await context.step("count_unfinished_runs", steps.count_unfinished_runs, job_id):
            await context.receive(RUNS_TOPIC, RUNS_POLL_S)
        return await context.step("finish", steps.finish, job_id)

    return {job_name: profile_job, variant_name: make_variant}
