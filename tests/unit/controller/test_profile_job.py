"""The control flow of a job, on an engine without durability and on steps that record what was asked of them."""

import asyncio

from edgefleet_controller.engine.in_memory import InMemoryContext
from edgefleet_controller.workflows.profile_job import job_workflows


class RecordedSteps:
    """Steps that succeed unless told otherwise; ``unfinished`` is what each look at the runs finds."""

    def __init__(
        self, variants: list[str], unfinished: list[int], fails: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        self._variants = variants
        self._unfinished = unfinished
        self._fails = fails
        self.crash_at: tuple[str, str] | None = None

    def _record(self, step: str, identifier: str) -> bool:
        if self.crash_at == (step, identifier):
            self.crash_at = None
            raise RuntimeError("killed")
        self.calls.append((step, identifier))
        return (step, identifier) not in self._fails

    async def begin(self, job_id: str) -> list[str]:
        self._record("begin", job_id)
        return self._variants

    async def compress(self, variant_id: str) -> bool:
        return self._record("compress", variant_id)

    async def compile(self, variant_id: str) -> bool:
        return self._record("compile", variant_id)

    async def dispatch(self, variant_id: str) -> bool:
        return self._record("dispatch", variant_id)

    async def count_unfinished_runs(self, job_id: str) -> int:
        self._record("count", job_id)
        return self._unfinished.pop(0)

    async def finish(self, job_id: str) -> str:
        self._record("finish", job_id)
        return "completed"


def run(steps: RecordedSteps, memory: dict[str, object] | None = None) -> object:
    workflows = job_workflows(steps, job_name="job", variant_name="variant", queue="compress")
    return asyncio.run(workflows["job"](InMemoryContext(workflows, memory=memory), "j"))


def test_every_variant_is_compressed_compiled_and_dispatched_before_the_job_waits() -> None:
    steps = RecordedSteps(["a", "b"], unfinished=[2, 1, 0])
    assert run(steps) == "completed"
    assert steps.calls == [
        ("begin", "j"),
        *[(step, variant) for variant in "ab" for step in ("compress", "compile", "dispatch")],
        *[("count", "j")] * 3,
        ("finish", "j"),
    ]


def test_a_variant_that_fails_to_compress_is_not_compiled_and_the_others_go_on() -> None:
    steps = RecordedSteps(["a", "b"], unfinished=[0], fails=frozenset({("compress", "a")}))
    assert run(steps) == "completed"
    assert ("compile", "a") not in steps.calls
    assert ("dispatch", "b") in steps.calls


def test_a_job_whose_preparation_failed_goes_straight_to_its_end() -> None:
    steps = RecordedSteps([], unfinished=[0])
    run(steps)
    assert steps.calls == [("begin", "j"), ("count", "j"), ("finish", "j")]


def test_a_resumed_job_repeats_no_step_that_had_finished() -> None:
    steps = RecordedSteps(["a", "b"], unfinished=[0])
    steps.crash_at = ("compile", "b")
    memory: dict[str, object] = {}
    try:
        run(steps, memory)
    except RuntimeError:
        before = list(steps.calls)
    assert run(steps, memory) == "completed"
    assert before[-1] == ("compress", "b")
    assert len(steps.calls) == len(set(steps.calls))
