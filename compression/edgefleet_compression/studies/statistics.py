"""Paired tests, their correction, effect sizes with intervals and power: plain functions of numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

CONFIDENCE: Final = 0.95
SIGNIFICANCE: Final = 0.05
POWER: Final = 0.8
"""Cohen 1992, A power primer, Psychological Bulletin 112(1): the customary power of a test."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval over ``n`` repetitions."""

    value: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean with Student's interval; ValueError below two values."""
    if len(values) < 2:
        raise ValueError(f"an interval needs at least two values, got {len(values)}")
    n, mean, deviation = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Return the geometric mean of a / b, pair by pair, with its interval; ValueError unless all are positive."""
    if min(*a, *b) <= 0:
        raise ValueError("a ratio by logarithms needs positive figures")
    logs = mean_interval(np.log(np.asarray(a, float) / np.asarray(b, float)).tolist())
    return Interval(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.n)


@dataclass(frozen=True)
class PairedTest:
    """Mean difference a - b with its interval, effect size d_z with its interval, two-sided p values.

    p values and d_z are None where all differences are equal, so that no test is defined. detectable: the smallest true
    difference that a t test with so many pairs of this spread finds with a power of 80 %.
    """

    difference: Interval
    d_z: Interval | None
    p_t: float | None
    p_wilcoxon: float | None
    detectable: float | None


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """Compare two arms seed by seed; ValueError for fewer than two pairs or different lengths."""
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"a paired test needs as many values on both sides and at least two, got {len(a)}, {len(b)}")
    differences = np.asarray(a, float) - np.asarray(b, float)
    interval = mean_interval(differences.tolist())
    deviation = float(differences.std(ddof=1))
    if deviation <= 1e-12 * max(1.0, abs(interval.value)):
        return PairedTest(interval, None, None, None, None)
    return PairedTest(
        difference=interval,
        d_z=effect_size(interval.value / deviation, len(differences)),
        p_t=float(stats.ttest_rel(a, b).pvalue),
        p_wilcoxon=float(stats.wilcoxon(differences).pvalue),
        detectable=deviation * detectable_effect(len(differences)),
    )


def effect_size(d_z: float, n: int) -> Interval:
    """Return d_z with its interval by inverting the noncentral t distribution (Cumming & Finch 2001, Educational and
    Psychological Measurement 61(4)).
    """
    observed, tail = d_z * math.sqrt(n), (1 - CONFIDENCE) / 2
    span = 6.0 + abs(observed)

    def noncentrality(share: float) -> float:
        def excess(delta: float) -> float:
            return noncentral_t_cdf(observed, n - 1, delta) - share

        return float(optimize.brentq(excess, observed - 2 * span, observed + 2 * span, xtol=1e-9))

    low, high = noncentrality(1 - tail), noncentrality(tail)
    return Interval(d_z, low / math.sqrt(n), high / math.sqrt(n), n)


def paired_power(d_z: float, n: int, *, significance: float = SIGNIFICANCE) -> float:
    """Return the power of a two-sided paired t test of n pairs against a true effect d_z."""
    critical = float(stats.t.ppf(1 - significance / 2, n - 1))
    delta = abs(d_z) * math.sqrt(n)
    return 1.0 - noncentral_t_cdf(critical, n - 1, delta) + noncentral_t_cdf(-critical, n - 1, delta)


def noncentral_t_cdf(t: float, degrees: int, delta: float) -> float:
    """Return P(T <= t) of the noncentral t distribution: the mean of Phi(t s - delta) over s = sqrt(chi2 / degrees).

    scipy's own is not a number far from the centre (scipy.stats.nct.sf(2.57, 5, 48)).
    """
    shares, weights = _QUADRATURE
    spread = np.sqrt(stats.chi2.ppf(shares, degrees) / degrees)
    return float(weights @ stats.norm.cdf(t * spread - delta))


def _unit_quadrature(n_nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Gauss-Legendre nodes and weights on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    return (nodes + 1) / 2, weights / 2


_QUADRATURE: Final = _unit_quadrature(400)
"""Within 1e-6 of scipy where scipy answers; a test compares them."""


def detectable_effect(n: int, *, power: float = POWER) -> float:
    """Return the smallest true d_z that a two-sided paired t test of n >= 2 pairs finds with this power."""
    return float(optimize.brentq(lambda d_z: paired_power(d_z, n) - power, 1e-6, 50.0, xtol=1e-9))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p values (Holm 1979, Scandinavian Journal of Statistics 6(2)), in the order given."""
    order = np.argsort(np.asarray(p_values, float), kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * float(p_values[index])))
        adjusted[int(index)] = largest
    return adjusted


def bootstrap_interval(
    n: int, statistic: Callable[[NDArray[np.intp]], float], *, n_resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of a statistic of n units drawn with replacement (Efron 1979).

    statistic: takes indices (n,). Draws of which it is not finite count as such: with more than 2.5 % of them at an end, that
    end is infinite.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(rng.integers(0, n, n)) for _ in range(n_resamples)])
    drawn = np.where(np.isnan(drawn), -np.inf, drawn)
    low, high = (
        float(np.quantile(drawn, share, method="nearest")) for share in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    return low, high
