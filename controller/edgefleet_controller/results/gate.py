"""Whether the rows of a job may pass: figures against limits, and against the same rows of an earlier job. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgefleet_compression.search.estimates import NORMAL_95, Estimate, ratio_of
from edgefleet_controller.results.figures import FIGURES, Figure
from edgefleet_controller.results.front import Direction
from edgefleet_controller.results.rows import TRUSTED
from edgefleet_controller.results.schemas import VariantRow

COMPARED = ("latency_p50_ms", "energy_mj", "size_bytes", "accuracy")
"""What an earlier job is compared in, where both jobs have the figure."""


class Outcome(StrEnum):
    """What became of a check. undecided: beyond the bound by the estimate, not beyond it by the 95 % interval."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Limit:
    """A bound of a figure: ``at_most`` or at least ``value``, in the figure's unit."""

    figure: str
    value: float
    at_most: bool

    def __post_init__(self) -> None:
        """Refuse a figure that no row has and a bound that is no number."""
        if self.figure not in FIGURES:
            raise ValueError(f"there is no figure {self.figure!r}; the figures are {', '.join(FIGURES)}")
        if not math.isfinite(self.value):
            raise ValueError(f"the bound of {self.figure} is not a finite number: {self.value}")


@dataclass(frozen=True)
class Check:
    """One question of the gate and its answer in words."""

    row: str
    device: str | None
    question: str
    outcome: Outcome
    reason: str


def check_limits(rows: Iterable[VariantRow], limits: Sequence[Limit]) -> list[Check]:
    """Return a check for every row and limit; a row whose figures cannot be relied on fails, one without the figure too."""
    return [_check_limit(row, limit) for row in rows for limit in limits]


def check_regressions(rows: Iterable[VariantRow], earlier: Iterable[VariantRow], *, allowed: float) -> list[Check]:
    """Return a check for every row and figure that the same variant had on the same device in the earlier job.

    allowed: the share by which a figure may become worse, such as 0.03. The worsening is the ratio of the two figures, its
    95 % interval that of a ratio of independent estimates (first order). Raises ValueError for a negative share.
    """
    if not (math.isfinite(allowed) and allowed >= 0):
        raise ValueError(f"a regression is allowed as a share of 0 or more, got {allowed}")
    known = {_identity(row): row for row in earlier}
    checks: list[Check] = []
    for row in rows:
        before = known.get(_identity(row))
        if before is None:
            checks.append(_check(row, "no regression", Outcome.SKIPPED, "the earlier job has no such row"))
            continue
        checks += [_check_regression(row, before, name, allowed) for name in COMPARED if _has(name, row, before)]
    return checks


def _identity(row: VariantRow) -> tuple[str, str, str | None]:
    return row.label, row.target, row.device_name


def _has(name: str, *rows: VariantRow) -> bool:
    return all(FIGURES[name].read(row) is not None for row in rows)


def _check_limit(row: VariantRow, limit: Limit) -> Check:
    figure, question = FIGURES[limit.figure], f"{limit.figure} {'<=' if limit.at_most else '>='} {limit.value:g}"
    estimate = figure.read(row)
    if row.verdict.status not in TRUSTED:
        reasons = ", ".join([row.verdict.status, *row.verdict.reasons])
        return _check(row, question, Outcome.FAILED, f"its measurement is {reasons}")
    if estimate is None:
        return _check(row, question, Outcome.FAILED, f"it has no {figure.label}")
    low, high = estimate.interval
    is_kept = estimate.value <= limit.value if limit.at_most else estimate.value >= limit.value
    may_be_kept = low <= limit.value if limit.at_most else high >= limit.value
    outcome = Outcome.PASSED if is_kept else Outcome.UNDECIDED if may_be_kept else Outcome.FAILED
    return _check(row, question, outcome, _in_words(limit.figure, estimate))


def _check_regression(row: VariantRow, before: VariantRow, name: str, allowed: float) -> Check:
    question = f"{name} at most {allowed:.4g} worse"
    untrusted = next((each for each in (row, before) if each.verdict.status not in TRUSTED), None)
    if untrusted is not None:
        which = "it" if untrusted is row else "the earlier row"
        reasons = ", ".join([untrusted.verdict.status, *untrusted.verdict.reasons])
        return _check(row, question, Outcome.FAILED if untrusted is row else Outcome.SKIPPED, f"{which} is {reasons}")
    figure = FIGURES[name]
    now, then = _known(figure, row), _known(figure, before)
    worsening = _worsening(now, then, figure.direction)
    if worsening is None:
        return _check(row, question, Outcome.SKIPPED, "a figure of 0 has no ratio")
    value, (low, high) = worsening.value, worsening.interval
    outcome = Outcome.PASSED if value <= allowed else Outcome.UNDECIDED if low <= allowed else Outcome.FAILED
    reason = f"{value:+.2%} [{low:+.2%}, {high:+.2%}]: {then.value:.6g} -> {now.value:.6g}"
    return _check(row, question, outcome, reason)


def _known(figure: Figure, row: VariantRow) -> Estimate:
    estimate = figure.read(row)
    assert estimate is not None  # asked for by ``_has``
    return estimate


def _worsening(now: Estimate, then: Estimate, direction: Direction) -> Estimate | None:
    """Return the share by which a figure became worse; negative where it improved, None where it has no ratio."""
    if now.value <= 0 or then.value <= 0:
        return None
    ratio = ratio_of(now, then) if direction is Direction.MINIMISE else ratio_of(then, now)
    return Estimate(ratio.value - 1, ratio.standard_error)


def _in_words(name: str, estimate: Estimate) -> str:
    if estimate.standard_error == 0:
        return f"{name} is {estimate.value:.6g}"
    return f"{name} is {estimate.value:.6g} +- {NORMAL_95 * estimate.standard_error:.2g}"


def _check(row: VariantRow, question: str, outcome: Outcome, reason: str) -> Check:
    return Check(row.label, row.device_name, question, outcome, reason)
