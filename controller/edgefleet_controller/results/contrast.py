"""Two results side by side: the ratio of each figure with its interval; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgefleet_compression.search.estimates import NORMAL_95, Estimate
from edgefleet_controller.results.listing import ListedResult

FIGURES: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "latency_p50_ms": ("median latency, ms", False),
        "latency_p90_ms": ("90th percentile, ms", False),
        "latency_p99_ms": ("99th percentile, ms", False),
        "energy_mj": ("energy, mJ", False),
        "accuracy": ("accuracy", True),
        "size_bytes": ("file, bytes", False),
        "peak_memory_bytes": ("peak memory, bytes", False),
    }
)
"""Figure -> its name, and whether more is better."""

WITHOUT_ERRORS = ("latency_p90_ms", "latency_p99_ms", "peak_memory_bytes")
"""Shown as they are: their errors are not carried this far."""


@dataclass(frozen=True)
class Contrast:
    """A figure of B over that of A. interval: 95 %; None where an error is not known. says: what that means."""

    figure: str
    a: float | None
    b: float | None
    ratio: float | None
    interval: tuple[float, float] | None
    says: str


def contrast(a: ListedResult, b: ListedResult) -> list[Contrast]:
    """Every figure of B over A."""
    return [_contrast(name, a, b) for name in FIGURES]


def _contrast(name: str, a: ListedResult, b: ListedResult) -> Contrast:
    label, more_is_better = FIGURES[name]
    first, second = a.estimate(name), b.estimate(name)
    if first is None or second is None or first.value == 0:
        missing = " and ".join(side for side, one in (("A", first), ("B", second)) if one is None)
        says = f"{missing} has none" if missing else "A is zero"
        return Contrast(label, getattr(a, name), getattr(b, name), None, None, says)
    ratio, half = ratio_of(second, first)
    is_exact = name == "size_bytes"
    interval = (ratio - half, ratio + half) if half > 0 or is_exact else None
    return Contrast(label, first.value, second.value, ratio, interval, _says(ratio, interval, more_is_better))


def ratio_of(numerator: Estimate, denominator: Estimate) -> tuple[float, float]:
    """The ratio of two independent estimates and half of its 95 % interval, to first order; denominator not 0."""
    ratio = numerator.value / denominator.value
    slope = numerator.value / denominator.value**2
    error = ((numerator.standard_error / denominator.value) ** 2 + (slope * denominator.standard_error) ** 2) ** 0.5
    return ratio, NORMAL_95 * error


def _says(ratio: float, interval: tuple[float, float] | None, more_is_better: bool) -> str:
    if interval is None:
        return "no interval: nothing can be said for sure"
    low, high = interval
    if low <= 1 <= high and not low == high != 1:
        return "no difference beyond the intervals" if low != high else "equal"
    is_better = (ratio > 1) == more_is_better
    return "B is better" if is_better else "B is worse"
