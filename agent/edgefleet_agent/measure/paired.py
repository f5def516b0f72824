"""A/B and A/A comparisons on this device: both artifacts loaded in runners side by side, run in turns."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from edgefleet_agent.measure.comparison import LEAST_PAIRS, block_sides, compare_blocks
from edgefleet_agent.measure.conversation import Conversation, Deadline
from edgefleet_agent.measure.emulation import provenance_here
from edgefleet_agent.measure.environment import describe_host
from edgefleet_agent.measure.launch import Rows
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.measure.verdict import Evidence, reach_verdict
from edgefleet_agent.measure.wishes import require_possible
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.statistics import SteadyOutcome, wilson_interval
from edgefleet_agent.wire.base import JsonObject, Wire
from edgefleet_agent.wire.comparison import ComparisonFigures, FalsePositives, Outcome
from edgefleet_agent.wire.reasons import Provenance
from edgefleet_agent.wire.report import BlobRef, Conditions, Verdict

BLOCKS_PER_COUPLE = 4

COMPARISON_SETTINGS = {"threads", "batch", "provider", "delegate", "seed", "warmup_seconds", "warmup_iterations"}
"""Settings that a comparison uses and reports; the others are about a run of its own."""


@dataclass(frozen=True)
class BlockPlan:
    """``n_pairs`` blocks of each side, of at least ``seconds`` and ``min_samples`` each, but no more after ``max_seconds``.

    Blocks are short, because what disturbs a host comes and goes within tenths of a second and cancels only between
    neighbours.
    """

    n_pairs: int = 400
    seconds: float = 0.02
    min_samples: int = 3
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Check the plan."""
        if self.n_pairs < LEAST_PAIRS or self.seconds <= 0 or self.min_samples < 1 or self.max_seconds <= 0:
            raise ValueError(
                "a comparison needs at least {} pairs of blocks of some length, got {}".format(LEAST_PAIRS, self)
            )


class ComparedBlock(Wire):
    """One block of inferences."""

    side: str = Field(description="A or B")
    start_ns: int = Field(description="CLOCK_MONOTONIC of its first inference")
    n: int = Field(ge=1, description="inferences")
    p50_ms: float = Field(gt=0, description="median latency in ms")


class ComparisonReport(ComparisonFigures):
    """How artifact B compares with artifact A on one device, with its blocks and conditions."""

    kind: str = Field(description="ab: two artifacts; aa: one artifact against itself")
    agent_version: str = Field(description="version of the agent")
    provenance: Provenance = Field(description="where the figures come from")
    a: BlobRef = Field(description="artifact A")
    b: BlobRef = Field(description="artifact B")
    blocks: list[ComparedBlock] = Field(description="all blocks in the order they ran")
    settings: JsonObject = Field(description="threads, batch, block length")
    runtime: JsonObject = Field(description="runtime name, version and interpreter of A")
    runtime_b: JsonObject = Field(description="the same of B")
    affinity: list[int] = Field(description="cores the runners were allowed to use")
    host: JsonObject = Field(description="CPU model, cores, kernel, operating system")
    before: Conditions = Field(description="conditions before the first block")
    after: Conditions = Field(description="conditions after the last block")
    verdict: Verdict = Field(description="how far to trust it")


def compare_artifacts(subject_a: Subject, subject_b: Subject, plan: BlockPlan, bench: Bench) -> ComparisonReport:
    """Run interleaved blocks of two artifacts and compare them; raises MeasurementFailed when either can't run."""
    for subject in (subject_a, subject_b):
        require_possible(subject)
    with tempfile.TemporaryDirectory(prefix="edgefleet-ab-", dir=bench.work_directory) as folder, ExitStack() as stack:
        deadline = Deadline(subject_a.settings.deadline_s)
        sides = {
            name: stack.enter_context(_Side(subject, bench, Path(folder) / name, deadline))
            for name, subject in (("A", subject_a), ("B", subject_b))
        }
        for side in sides.values():  # both interpreters start together; loading and warming up go one after the other
            side.make_ready()
        deadline.phase = "measure"
        before = bench.read_conditions()
        ran = _run_blocks(sides, plan, bench)
        after = bench.read_conditions()
        cpu_s = sum(side.cpu_s for side in sides.values())
        facts, facts_b = sides["A"].facts, sides["B"].facts
        for side in sides.values():
            side.stop()
    rows = {name: [block for side, block in ran if side == name] for name in "AB"}
    compared = compare_blocks([block[1] for block in rows["A"]], [block[1] for block in rows["B"]])
    evidence = Evidence(
        outcome=SteadyOutcome.FLAT,  # a drift cancels between neighbouring blocks
        n_non_finite=facts["n_non_finite"] + facts_b["n_non_finite"],
        before=before,
        after=after,
        cpu_s=cpu_s,
        threads=subject_a.settings.threads,
        n_cores=len(facts["affinity"]),
    )
    return ComparisonReport(
        kind="aa" if subject_a.artifact == subject_b.artifact else "ab",
        agent_version=AGENT_VERSION,
        provenance=provenance_here(),
        a=subject_a.artifact,
        b=subject_b.artifact,
        **compared._asdict(),
        blocks=[_block(side, block) for side, block in ran],
        settings=_settings(subject_a, plan),
        runtime=_runtime(subject_a, facts),
        runtime_b=_runtime(subject_b, facts_b),
        affinity=facts["affinity"],
        host=describe_host(),
        before=before,
        after=after,
        verdict=reach_verdict(evidence),
    )


def count_false_positives(
    subject: Subject, plan: BlockPlan, bench: Bench, n_comparisons: int, on_done: Callable[[int, int], None]
) -> FalsePositives:
    """Compare an artifact with itself again and again, in fresh processes each time.

    ``on_done`` is told how many comparisons were made and how many of them claimed a difference.
    """
    reports: list[ComparisonReport] = []
    for number in range(n_comparisons):
        reports.append(compare_artifacts(subject, subject, plan, bench))
        on_done(number + 1, sum(report.outcome is not Outcome.NO_DIFFERENCE for report in reports))
    return false_positives([(report.ratio, report.outcome) for report in reports])


def false_positives(compared: Sequence[tuple[float, Outcome]]) -> FalsePositives:
    """Count the comparisons of equals that claim a difference."""
    n = len(compared)
    n_false = sum(outcome is not Outcome.NO_DIFFERENCE for _, outcome in compared)
    interval = wilson_interval(n_false, n, confidence=0.95)
    if interval is None:
        raise ValueError("no comparison was made")
    return FalsePositives(
        n_comparisons=n,
        n_false_positives=n_false,
        share=n_false / n,
        interval=interval,
        ratios=[ratio for ratio, _ in compared],
        outcomes=[outcome for _, outcome in compared],
    )


class _Side:
    """A runner with one artifact loaded, idle between its blocks."""

    def __init__(self, subject: Subject, bench: Bench, folder: Path, deadline: Deadline) -> None:
        self._folder, self._limits = folder, bench.limits
        self._talk = Conversation(subject, bench, folder, deadline)
        self.facts: JsonObject = {}
        self.cpu_s = 0.0

    def __enter__(self) -> "_Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._talk.__exit__(None, None, None)

    def make_ready(self) -> None:
        """Load and warm up."""
        self._talk.begin("blocks")
        self.facts = self._talk.follow(self._enter, until="ready")

    def run_block(self, plan: BlockPlan) -> Rows:
        """One block; rows start_ns and latency_ns."""
        self._talk.send({"request": "block", "seconds": plan.seconds, "min_samples": plan.min_samples})
        event = self._talk.next(10 * plan.seconds + self._limits.load_s)
        self.cpu_s += float(event["cpu_s"])
        rows: Rows = np.load(self._folder / "block{}.npy".format(event["number"]), allow_pickle=False)
        return rows

    def stop(self) -> None:
        """End the runner in good order."""
        self._talk.send({"request": "stop"})
        self._talk.next(self._limits.load_s)
        self._talk.finish()

    def _enter(self, event: JsonObject) -> float:
        silent_for_s = float(event.get("silent_for_s", 0.0))
        self._talk.announce(event["phase"], silent_for_s)
        return silent_for_s + self._talk.load_limit_s


def _run_blocks(sides: "dict[str, _Side]", plan: BlockPlan, bench: Bench) -> "list[tuple[str, Rows]]":
    """All blocks in order; once the time is over, the blocks up to a whole couple (A B B A) of at least two."""
    ends_ns = bench.clock.now_ns() + int(plan.max_seconds * 1e9)
    ran: list[tuple[str, Rows]] = []
    for name in block_sides(plan.n_pairs):
        is_whole = len(ran) % BLOCKS_PER_COUPLE == 0
        if is_whole and len(ran) >= 2 * LEAST_PAIRS and bench.clock.now_ns() >= ends_ns:
            break
        if is_whole:
            bench.on_phase("measure", 0.0)  # between two couples nothing is timed: a sign of life, or the end
        ran.append((name, sides[name].run_block(plan)))
    return ran


def _runtime(subject: Subject, facts: JsonObject) -> JsonObject:
    return {"name": subject.runtime, **facts["runtime"], "interpreter": subject.interpreter}


def _block(side: str, rows: Rows) -> ComparedBlock:
    return ComparedBlock(
        side=side, start_ns=int(rows[0, 0]), n=int(rows.shape[1]), p50_ms=float(np.median(rows[1])) / 1e6
    )


def _settings(subject: Subject, plan: BlockPlan) -> JsonObject:
    kept = subject.settings.model_dump(include=COMPARISON_SETTINGS)
    return {**kept, "n_pairs": plan.n_pairs, "block_s": plan.seconds, "block_min_samples": plan.min_samples}


def with_deadline(subject: Subject, plan: BlockPlan) -> Subject:
    """The subject with a deadline that the planned blocks fit into."""
    wanted = max(subject.settings.deadline_s, 300.0 + 2 * plan.max_seconds)
    return replace(subject, settings=subject.settings.model_copy(update={"deadline_s": min(wanted, 86_400.0)}))
