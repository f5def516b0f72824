"""The grid carried out: rows that share passes share them in the store of the compression bench, pass by pass."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.compression_rows.carrying_out import Workshop
from tests.benchmarks.compression_rows.row import Outcome, Row
from tests.benchmarks.compression_rows.store import content_key
from tests.benchmarks.compression_rows.timing import subject
from tests.benchmarks.search_rows.resnet20 import DATA, MODEL, REPORTED, RUNTIMES, SPACE
from tests.benchmarks.search_rows.table import GridRow

from edgefleet_agent.measure.paired import BlockPlan, compare_artifacts, with_deadline
from edgefleet_agent.measure.subject import Bench
from edgefleet_compression.data.dataset import Split
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.space import Plan, plan_of
from edgefleet_deploy.accuracy import evaluate
from edgefleet_deploy.compiler import compiler_for
from edgefleet_deploy.litert_session import LitertSession
from edgefleet_deploy.onnx_session import OnnxSession
from edgefleet_deploy.targets import get_target

REFERENCE: Final = RUNTIMES[0]
PLAN: Final = BlockPlan(n_pairs=30, seconds=0.015, max_seconds=5.0)
"""Interleaved blocks of 15 ms of the reference and of the row's file: shifts of the load meet both."""

BASELINE_POINT: Final[Point] = {
    "blocks": 0,
    "channels": 0.0,
    "format": "fp32",
    "observer": "minmax",
    "target": REFERENCE,
}


@dataclass(frozen=True)
class Timed:
    """p50 over the reference's, with the agent's 99 % interval, and the load average before."""

    ratio: float
    low: float
    high: float
    load_1m: float | None


@dataclass
class Grid:
    """Carries rows of the space out, each piece once. retime: kept timings are measured anew."""

    workshop: Workshop
    say: Callable[[str], None]
    retime: bool = False

    def baseline(self) -> GridRow:
        """Return the uncompressed file in the reference runtime; its ratio is to itself."""
        return self.row(plan_of(SPACE, BASELINE_POINT), reports=True)

    def make(self, plan: Plan) -> tuple[Outcome, float]:
        """Return a row's file and its accuracy on what the search sees, carried out where they are not kept."""
        outcome, path = self._outcome(plan)
        seen = self.workshop.data(DATA).validation
        kept = self._kept("validation", outcome, lambda: {"accuracy": _accuracy(path, plan.target, seen)})
        return outcome, float(kept["accuracy"])

    def row(self, plan: Plan, *, reports: bool = False) -> GridRow:
        """Return a row's figures, carried out where they are not kept. reports: with its accuracy on dev5k."""
        outcome, validation = self.make(plan)
        path = self._outcome(plan)[1]
        runtime = get_target(plan.target).runtime
        is_anew = self.retime and not reports
        timed = Timed(**self._kept("ratio", outcome, lambda: asdict(self._timed(path, runtime)), is_anew=is_anew))
        return GridRow(
            point=dict(plan.point),
            size_bytes=outcome.size_bytes,
            accuracy_validation=validation,
            accuracy_dev=self._dev(outcome, path, plan.target) if reports else None,
            latency_ratio=timed.ratio,
            latency_ratio_low=timed.low,
            latency_ratio_high=timed.high,
            macs=outcome.macs,
            n_parameters=outcome.n_parameters,
            load_1m=timed.load_1m,
            cost_s=outcome.cost_s,
            sha256=outcome.sha256,
        )

    def _outcome(self, plan: Plan) -> tuple[Outcome, Path]:
        row = _row(plan.recipe, plan.target)
        return self.workshop.outcome(row, plan.recipe, plan.recipe.seed)

    def _reference_path(self) -> Path:
        return self._outcome(plan_of(SPACE, BASELINE_POINT))[1]

    def _kept(
        self, what: str, outcome: Outcome, make: Callable[[], dict[str, Any]], *, is_anew: bool = False
    ) -> dict[str, Any]:
        key = content_key(search=what, file=outcome.sha256, data=DATA)
        kept = None if is_anew else self.workshop.store.read(key)
        if kept is None:
            kept = make()
            self.workshop.store.finish(key, kept)
        return kept

    def _dev(self, outcome: Outcome, path: Path, target: str) -> float:
        unseen = self.workshop.data(REPORTED).test
        return float(self._kept("dev5k", outcome, lambda: {"accuracy": _accuracy(path, target, unseen)})["accuracy"])

    def _timed(self, path: Path, runtime: str) -> Timed:
        reference = subject(self._reference_path(), get_target(REFERENCE).runtime)
        compared = compare_artifacts(
            with_deadline(reference, PLAN), with_deadline(subject(path, runtime), PLAN), PLAN, Bench()
        )
        low, high = compared.interval
        return Timed(compared.ratio, low, high, compared.before.load_average_1m)


def _accuracy(path: Path, target: str, images: Split) -> float:
    loaded = compiler_for(get_target(target)).open(path.read_bytes(), threads=1)
    assert isinstance(loaded, OnnxSession | LitertSession)
    found, _ = evaluate(loaded, loaded.inputs, {"x": images.x}, images.y)
    if found.value is None:
        raise ValueError(f"{path}: accuracy is unknown: {found.reason}")
    return found.value


def _row(recipe: Recipe, target: str) -> Row:
    return Row(
        name=recipe.name,
        model=MODEL,
        recipe=recipe,
        target=target,
        table="search",
        data=DATA,
        arithmetic="bfloat16",
        timed=False,
    )


def in_order_of_work(plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans so that those that share trainings follow each other."""
    return sorted(plans, key=lambda plan: (plan.point["blocks"], plan.point["channels"]))
