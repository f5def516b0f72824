import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from pydantic import BaseModel

from edgefleet_agent.cli.bench import hash_file, make_settings, subject_of
from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.measure.comparison import LEAST_DIFFERENCE
from edgefleet_agent.measure.paired import (
    BlockPlan,
    ComparisonReport,
    compare_artifacts,
    count_false_positives,
    with_deadline,
)
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.wire.comparison import FalsePositives, Outcome

WARMUP_S = 0.25
"""Of each runner. Blocks come in turns and the calmer half counts, so a comparison needs less warm-up than a run."""

PROGRESS_EVERY = 10


def compare(options: argparse.Namespace) -> int:
    """Compare two files and say which is faster; 0 whatever the outcome. Raises MeasurementFailed where either can't run."""
    plan = _plan(options)
    report = compare_artifacts(_subject(options.a, options, plan), _subject(options.b, options, plan), plan, Bench())
    _write(options.json, report)
    print(comparison_text(options.a, options.b, report))
    return 0


def compare_with_itself(options: argparse.Namespace) -> int:
    """Make A/A comparisons and print the share that claims a difference."""
    if options.pairs < 1:
        raise SettingsInvalid("--pairs: make at least one comparison")
    plan = _plan(options)
    subject = _subject(options.file, options, plan)
    rate = count_false_positives(subject, plan, Bench(), options.pairs, _progress(options.pairs))
    _write(options.json, rate)
    print(false_positives_text(rate))
    return 0


def comparison_text(a: Path, b: Path, report: ComparisonReport) -> str:
    """The comparison for a person."""
    said = {
        Outcome.FASTER: "{b} is faster than {a}",
        Outcome.SLOWER: "{b} is slower than {a}",
        Outcome.NO_DIFFERENCE: "no difference of {least:.0%} or more between {a} and {b}",
    }[report.outcome].format(a=a.name, b=b.name, least=LEAST_DIFFERENCE)
    reasons = "".join(" " + reason.value for reason in report.verdict.reasons)
    lines = [
        said,
        "ratio     {:.4f} [{:.4f}, {:.4f}] (latency of B over A, {:.0%} interval, {} pairs of blocks)".format(
            report.ratio, *report.interval, report.confidence, report.n_pairs
        ),
        "verdict   {}{}".format(report.verdict.status.value, reasons),
    ]
    return "\n".join(lines)


def false_positives_text(rate: FalsePositives) -> str:
    """The false-positive rate for a person."""
    return "{} of {} comparisons of the artifact with itself claim a difference ({:.1%} [{:.1%}, {:.1%}])".format(
        rate.n_false_positives, rate.n_comparisons, rate.share, *rate.interval
    )


def _plan(options: argparse.Namespace) -> BlockPlan:
    try:
        return BlockPlan(n_pairs=options.blocks, seconds=options.block_seconds, max_seconds=options.max_seconds)
    except ValueError as err:
        raise SettingsInvalid("--blocks, --block-seconds, --max-seconds: {}".format(err)) from err


def _subject(path: Path, options: argparse.Namespace, plan: BlockPlan) -> Subject:
    settings = make_settings(
        threads=options.threads,
        batch=options.batch,
        provider=options.provider,
        delegate=options.delegate,
        seed=options.seed,
        warmup_seconds=WARMUP_S,
    )
    return with_deadline(subject_of(path, hash_file(path), settings, options), plan)


def _write(path: Optional[Path], report: BaseModel) -> None:
    if path is not None:
        path.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _progress(n: int, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """Prints how far it is to standard error: on a terminal after each comparison, elsewhere after every tenth."""
    started_s = clock()

    def show(number: int, n_false: int) -> None:
        if sys.stderr.isatty() or number % PROGRESS_EVERY == 0 or number == n:
            left_s = (clock() - started_s) / number * (n - number)
            line = "{} of {} comparisons, {} claim a difference, about {:.0f} s left"
            print(line.format(number, n, n_false, left_s), file=sys.stderr, flush=True)

    return show
