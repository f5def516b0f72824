"""Percentiles, intervals, bootstrap and the steady-state test: pure functions of numbers, numpy only.

Percentiles are Hyndman and Fan's definition 7, the default of numpy and pandas, so that anybody who has the raw samples
finds the same figure: with the sorted samples x(1)..x(n) and h = (n - 1) p + 1, linear between x(floor h) and x(floor h + 1).
"""

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
Series = Union[Sequence[float], NDArray[Any]]

PERCENTILES: Mapping[str, float] = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
"""The published percentiles by name."""

EARLY_STOPPING_CONFIDENCE = 0.99
"""Confidence of the early-stopping rule: mlcommons/inference_policies, inference_rules.adoc, appendix on early stopping."""

SEGMENT_S = 0.5
"""Least length of a steady-state segment in seconds; shorter ones follow the scheduler and not the workload."""

SEGMENT_SAMPLES = 5
"""Least samples of a segment, so that its median shrugs off two outliers."""

TAIL_SEGMENTS = 3
"""Segments at the end that must agree."""

STEADY_TOLERANCE = 0.02
"""Least relative spread of the segment medians that may count as more than one level: smaller ones are not published."""

STEADY_TOLERANCE_MAX = 0.05
"""Largest spread that may count as one level, however noisy the host."""

STEADY_SCATTERS = 4.0
"""Between both, this many times the scatter from one segment to the next: the range of three normal values exceeds four
standard deviations in 1 of 80 cases. Barrett et al. (OOPSLA 2017) likewise scale their tolerance by the variance."""

TREND_SIGNIFICANCE = 0.01
"""Two-sided level of the Mann-Kendall test."""

TREND_PART = 0.5
"""Share of the segments, from the end, in which a trend is looked for. The test sees segment medians: on single samples or
shorter blocks autocorrelation would make it reject far too often."""

TREND_CHANGE = 0.5
"""Least change over that part, as a share of the tolerance, that makes a significant trend matter: 1 % on a quiet host."""


class SamplesInsufficient(ValueError):
    """There are no samples to compute a figure from; measure longer."""


def percentile(samples: Series, probability: float) -> float:
    """Percentile by Hyndman and Fan's definition 7; ``probability`` in [0, 1], in the unit of the samples."""
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise SamplesInsufficient("a percentile needs at least one sample")
    return float(np.percentile(values, 100.0 * probability))


def _percentile_of_sorted(ordered: NDArray[np.float64], probability: float) -> float:
    """The same of values in ascending order, at a hundredth of the cost; rounds as numpy's own interpolation does."""
    position = (ordered.size - 1) * probability
    below = math.floor(position)
    share = position - below
    low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    return low + (high - low) * share if share < 0.5 else high - (high - low) * (1.0 - share)


def binomial_cdf(n: int, probability: float) -> tuple[int, NDArray[np.float64]]:
    """First count and the distribution function from it on, for Binomial(n, probability).

    Only counts within 12 standard deviations of the mean are listed; the mass outside is below 1e-30.
    """
    spread = 12.0 * math.sqrt(n * probability * (1.0 - probability)) + 60.0
    first = max(0, math.floor(n * probability - spread))
    last = min(n, math.ceil(n * probability + spread))
    counts = np.arange(first, last, dtype=np.float64)
    steps = np.log((n - counts) / (counts + 1.0)) + math.log(probability / (1.0 - probability))
    start = (
        math.lgamma(n + 1)
        - math.lgamma(first + 1)
        - math.lgamma(n - first + 1)
        + first * math.log(probability)
        + (n - first) * math.log1p(-probability)
    )
    log_mass = np.concatenate(([start], start + np.cumsum(steps)))
    return first, np.minimum(np.cumsum(np.exp(log_mass)), 1.0)


@lru_cache(maxsize=1024)
def interval_ranks(n: int, probability: float, confidence: float) -> Optional[tuple[int, int]]:
    """Ranks (1-based) of the order statistics that enclose the percentile with at least ``confidence``, or None.

    With B ~ Binomial(n, p): the largest l with P(B < l) <= alpha/2 and the smallest u with P(B >= u) <= alpha/2
    (David and Nagaraja, Order Statistics, 3rd edition, section 7.1). Free of any assumption on the distribution.
    """
    if n < 1:
        return None
    first, cdf = binomial_cdf(n, probability)
    tail = (1.0 - confidence) / 2.0
    low = first + int(np.searchsorted(cdf, tail, side="right"))
    high = first + int(np.searchsorted(cdf, 1.0 - tail, side="left")) + 1
    if low < 1 or high > n:
        return None
    return low, high


def percentile_interval(samples: Series, probability: float, confidence: float = 0.99) -> Optional[Interval]:
    """Distribution-free interval of a percentile from order statistics; None when n is too small for one."""
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    ranks = interval_ranks(int(ordered.size), probability, confidence)
    if ranks is None:
        return None
    return float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1])


def early_stopping_discards(n: int, probability: float, confidence: float = EARLY_STOPPING_CONFIDENCE) -> Optional[int]:
    """The largest t with F(t; n, 1 - p) <= 1 - confidence, or None when even t = 0 fails (MLPerf's rule, tolerance 0).

    LoadGen discards the t - 1 largest latencies and reports the largest of the rest.
    """
    if n < 1:
        return None
    first, cdf = binomial_cdf(n, 1.0 - probability)
    position = int(np.searchsorted(cdf, 1.0 - confidence, side="right")) - 1
    return first + position if position >= 0 else None


@lru_cache(maxsize=64)
def minimum_count(probability: float, confidence: float = EARLY_STOPPING_CONFIDENCE, discards: int = 1) -> int:
    """Least number of samples from which a percentile may be published: 64 for p90 and 662 for p99 (t = 1)."""
    low, high = 0, 8
    while not _may_discard(high, probability, confidence, discards):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _may_discard(middle, probability, confidence, discards):
            high = middle
        else:
            low = middle
    return high


def _may_discard(n: int, probability: float, confidence: float, discards: int) -> bool:
    allowed = early_stopping_discards(n, probability, confidence)
    return allowed is not None and allowed >= discards


def early_stopping_estimate(samples: Series, probability: float) -> Optional[float]:
    """MLPerf's early-stopping percentile estimate, or None below the minimum count."""
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    discards = early_stopping_discards(int(ordered.size), probability)
    if discards is None or discards < 1:
        return None
    return float(ordered[ordered.size - discards])


def wilson_interval(n_correct: int, n: int, confidence: float = 0.95) -> Optional[Interval]:
    """Wilson score interval of a share (Wilson 1927; Brown, Cai and DasGupta 2001); None without samples."""
    if n == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share, z2 = n_correct / n, z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


class LatencyFigures(NamedTuple):
    """Summary of a latency series in ms; a percentile is None when ``n`` is below its minimum count."""

    n: int
    percentiles: dict[str, Optional[float]]
    intervals: dict[str, Interval]
    mean: Optional[float]
    minimum: Optional[float]
    maximum: Optional[float]
    confidence: float
    n_outliers: int

    @property
    def too_few(self) -> list[str]:
        """Names of the percentiles that are None."""
        return [name for name, value in self.percentiles.items() if value is None]


def summarize_latency(latency_ns: Series, confidence: float = 0.99) -> LatencyFigures:
    """Percentiles with distribution-free intervals, mean, extremes and outliers of a series of latencies in ns."""
    ordered = np.sort(np.asarray(latency_ns, dtype=np.float64)) / 1e6
    n = int(ordered.size)
    enough = [name for name, p in PERCENTILES.items() if n >= minimum_count(p)]
    percentiles = {
        name: _percentile_of_sorted(ordered, p) if name in enough else None for name, p in PERCENTILES.items()
    }
    intervals = {}
    for name in enough:
        ranks = interval_ranks(n, PERCENTILES[name], confidence)
        if ranks is not None:
            intervals[name] = (float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1]))
    return LatencyFigures(
        n=n,
        percentiles=percentiles,
        intervals=intervals,
        mean=float(ordered.mean()) if n else None,
        minimum=float(ordered[0]) if n else None,
        maximum=float(ordered[-1]) if n else None,
        confidence=confidence,
        n_outliers=_count_beyond_fence(ordered),
    )


def outlier_fence(samples: Series) -> float:
    """Third quartile + 3 interquartile ranges (Tukey's outer fence), in the unit of the samples."""
    low, high = np.percentile(np.asarray(samples, dtype=np.float64), [25.0, 75.0])
    return float(high + 3.0 * (high - low))


def count_outliers(samples: Series) -> int:
    """Samples beyond Tukey's outer fence."""
    values = np.asarray(samples, dtype=np.float64)
    return int(np.count_nonzero(values > outlier_fence(values))) if values.size else 0


def _count_beyond_fence(ordered: NDArray[np.float64]) -> int:
    if not ordered.size:
        return 0
    low, high = _percentile_of_sorted(ordered, 0.25), _percentile_of_sorted(ordered, 0.75)
    fence = high + 3.0 * (high - low)
    return int(ordered.size - np.searchsorted(ordered, fence, side="right"))


class Estimate(NamedTuple):
    """A point estimate with its interval."""

    value: float
    low: float
    high: float


Statistic = Callable[[NDArray[np.float64]], float]


def median(values: NDArray[np.float64]) -> float:
    """The median, as a plain float."""
    return float(np.median(values))


def paired_ratio(
    numerator: Series, denominator: Series, *, confidence: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Median of the pairwise ratios of two equally long series, with a percentile bootstrap over the pairs."""
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    if top.shape != bottom.shape or top.size == 0:
        raise SamplesInsufficient("pairs need two series of one length, got {} and {}".format(top.size, bottom.size))
    ratios = top / bottom
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, ratios.size, size=(n_resamples, ratios.size))
    return _estimate(median(ratios), np.median(ratios[draws], axis=1), confidence)


def hierarchical_ratio(
    numerator: Sequence[Series],
    denominator: Sequence[Series],
    *,
    statistic: Statistic = median,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Ratio of a statistic of two sets of process launches, by resampling launches first and samples within them second.

    Each argument: one series per launch. The spread between launches is usually the larger one (Kalibera and Jones,
    Rigorous benchmarking in reasonable time, ISMM 2013).
    """
    tops = [np.asarray(series, dtype=np.float64) for series in numerator]
    bottoms = [np.asarray(series, dtype=np.float64) for series in denominator]
    if not all(series.size for series in tops + bottoms) or not tops or not bottoms:
        raise SamplesInsufficient("a hierarchical bootstrap needs launches with samples on both sides")
    rng = np.random.default_rng(seed)
    value = _launch_mean(tops, statistic) / _launch_mean(bottoms, statistic)
    draws = np.array(
        [
            _launch_mean(_resample_launches(tops, rng), statistic)
            / _launch_mean(_resample_launches(bottoms, rng), statistic)
            for _ in range(n_resamples)
        ]
    )
    return _estimate(value, draws, confidence)


def launch_interval(
    launches: Sequence[Series], figure: str, *, confidence: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Mean over process launches of their "p50" or "mean", with a hierarchical bootstrap interval.

    Launches are resampled first and samples within each second. The second step is drawn from its known distribution
    instead of sample by sample, which would take minutes on a board: a resampled median is the order statistic at a
    Beta((n+1)/2, (n+1)/2) position, a resampled mean is normal with s / sqrt(n).
    """
    series = [np.sort(np.asarray(launch, dtype=np.float64)) for launch in launches]
    if not series or not all(values.size for values in series):
        raise SamplesInsufficient("a hierarchical bootstrap needs launches with samples")
    rng = np.random.default_rng(seed)
    draw = {"p50": _draw_medians, "mean": _draw_means}[figure]
    total = np.zeros(n_resamples)
    for _ in series:
        within = np.array([draw(values, n_resamples, rng) for values in series])
        total += within[rng.integers(0, len(series), size=n_resamples), np.arange(n_resamples)]
    draws = total / len(series)
    value = _launch_mean(series, median if figure == "p50" else lambda values: float(values.mean()))
    return _estimate(value, draws, confidence)


def _draw_medians(ordered: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    half = (ordered.size + 1) / 2
    positions = np.minimum((rng.beta(half, half, n) * ordered.size).astype(np.int64), ordered.size - 1)
    return np.asarray(ordered[positions])


def _draw_means(values: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    spread = float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else 0.0
    return np.asarray(rng.normal(float(values.mean()), spread, n))


def _launch_mean(launches: Sequence[NDArray[np.float64]], statistic: Statistic) -> float:
    return sum(statistic(launch) for launch in launches) / len(launches)


def _resample_launches(launches: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    chosen = rng.integers(0, len(launches), size=len(launches))
    return [rng.choice(launches[i], size=launches[i].size) for i in chosen]


def _estimate(value: float, draws: NDArray[np.float64], confidence: float) -> Estimate:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(draws, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))


class SteadyOutcome(str, Enum):
    """How a series behaves over time (after Barrett et al., OOPSLA 2017)."""

    FLAT = "flat"
    WARMUP = "warmup"
    SLOWDOWN = "slowdown"
    NO_STEADY_STATE = "no_steady_state"


class SteadyState(NamedTuple):
    """Outcome of the steady-state test; the steady part starts at index ``first_steady`` (0 unless a warm-up was seen)."""

    outcome: SteadyOutcome
    first_steady: int
    segment_medians_ns: list[float]


def find_steady_state(start_ns: Series, latency_ns: Series) -> SteadyState:
    """Test a latency series for a steady end: the last segments are of one level and show no trend.

    ``start_ns`` and ``latency_ns`` are equally long and in order of time. One level means within 2 %, or within four
    times the scatter between neighbouring segments where that is larger, but never beyond 5 %. A single disturbed
    segment is passed over (its samples stay in the figures); two in a row are a change of level. A warm-up is removed
    only where at least half of the samples remain; a series that settles later has no steady state.
    """
    latencies = np.asarray(latency_ns, dtype=np.float64)
    bounds = _segment_bounds(np.asarray(start_ns, dtype=np.float64), latencies)
    medians = [float(np.median(latencies[low:high])) for low, high in bounds]
    if len(medians) < TAIL_SEGMENTS:
        return SteadyState(SteadyOutcome.NO_STEADY_STATE, 0, medians)
    tolerance, levels = steady_tolerance(medians), _without_single_segments(medians)
    tail = levels[-TAIL_SEGMENTS:]
    trend = _trend_direction(medians[-max(TAIL_SEGMENTS, int(TREND_PART * len(medians))) :], tolerance)
    if max(tail) > min(tail) * (1 + tolerance) or trend:
        rising = trend > 0 or medians[-TAIL_SEGMENTS:] == sorted(medians[-TAIL_SEGMENTS:])
        outcome = SteadyOutcome.SLOWDOWN if rising and tail[-1] > medians[0] else SteadyOutcome.NO_STEADY_STATE
        return SteadyState(outcome, 0, medians)
    return _classify_start(levels, bounds, latencies.size, tolerance)._replace(segment_medians_ns=medians)


def steady_tolerance(medians: Sequence[float]) -> float:
    """Relative spread of segment medians that counts as one level, from the scatter between neighbours.

    Differences of neighbours do not grow with a drift (von Neumann 1941); the median of their absolute values is
    0.6745 sqrt(2) standard deviations of a normal scatter and shrugs off single disturbed segments.
    """
    differences = np.abs(np.diff(np.asarray(medians, dtype=np.float64)))
    scatter = float(np.median(differences)) / (0.6745 * math.sqrt(2)) / float(np.median(medians))
    return min(STEADY_TOLERANCE_MAX, max(STEADY_TOLERANCE, STEADY_SCATTERS * scatter))


def _without_single_segments(medians: list[float]) -> list[float]:
    """Running median of three; the first stays as it is, so that a slow start shows, the last is that of the last three."""
    inner = [float(np.median(medians[i - 1 : i + 2])) for i in range(1, len(medians) - 1)]
    return [medians[0], *inner, float(np.median(medians[-3:]))]


def _classify_start(medians: list[float], bounds: list[tuple[int, int]], n: int, tolerance: float) -> SteadyState:
    """The end is steady: decide what the part before it was."""
    level = float(np.median(medians[-TAIL_SEGMENTS:]))
    different = [i for i, value in enumerate(medians) if abs(value / level - 1) > tolerance]
    if not different:
        return SteadyState(SteadyOutcome.FLAT, 0, medians)
    # the segment right after the last different one may straddle the change, so it goes too
    first_steady = bounds[min(different[-1] + 2, len(bounds) - TAIL_SEGMENTS)][0]
    before = float(np.median(medians[: different[-1] + 1]))
    if before < level / (1 + tolerance):
        return SteadyState(SteadyOutcome.SLOWDOWN, 0, medians)
    if n - first_steady < n / 2:
        return SteadyState(SteadyOutcome.NO_STEADY_STATE, 0, medians)
    return SteadyState(SteadyOutcome.WARMUP, first_steady, medians)


def _segment_bounds(start_ns: NDArray[np.float64], latency_ns: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Half-open index ranges of equal time span >= SEGMENT_S with >= SEGMENT_SAMPLES samples each."""
    n = int(latency_ns.size)
    if n == 0:
        return []
    span_ns = start_ns[-1] + latency_ns[-1] - start_ns[0]
    count = int(span_ns / (SEGMENT_S * 1e9))
    while count >= TAIL_SEGMENTS:
        edges = np.searchsorted(start_ns, start_ns[0] + span_ns * np.arange(1, count) / count)
        cuts = [0, *(int(edge) for edge in edges), n]
        if min(high - low for low, high in zip(cuts, cuts[1:])) >= SEGMENT_SAMPLES:
            return list(zip(cuts, cuts[1:]))
        count -= 1
    return []


def _trend_direction(medians: Sequence[float], tolerance: float) -> int:
    """+1, -1 or 0: a significant Mann-Kendall trend of segment medians that also moves them by half the tolerance."""
    z = mann_kendall_z(medians)
    if abs(z) < NormalDist().inv_cdf(1 - TREND_SIGNIFICANCE / 2):
        return 0
    third = max(1, len(medians) // 3)
    change = float(np.median(medians[-third:])) / float(np.median(medians[:third])) - 1
    return int(math.copysign(1, z)) if abs(change) > TREND_CHANGE * tolerance else 0


def mann_kendall_z(values: Series) -> float:
    """Standard normal score of the Mann-Kendall trend test with tie correction (Mann 1945; Kendall 1975); > 0 rises."""
    series = np.asarray(values, dtype=np.float64)
    n = int(series.size)
    if n < 3:
        return 0.0
    score = float(np.sign(series[None, :] - series[:, None])[np.triu_indices(n, 1)].sum())
    ties = np.unique(series, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18.0
    if score == 0 or variance == 0:
        return 0.0
    return (score - math.copysign(1, score)) / math.sqrt(variance)
