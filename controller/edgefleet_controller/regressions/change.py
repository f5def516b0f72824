"""Whether an artifact's measurements changed at some point; pure.

The statistic is the largest standardised difference of means over all points at which the logarithms could be split (Page
1955; Csorgo and Horvath 1997, "Limit Theorems in Change-Point Analysis", 2.1). Its distribution without a change is that over
random orders of the same values, so the rate of false positives holds for measurements with any noise, heavy tails
included, as long as they are exchangeable: without a change, no order of them is likelier than another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_POSITIVE_RATE = 0.01
"""Of one look at a measurement whose artifact did not change, over all its figures together."""
N_FIGURES = 2
"""Latency and energy: each is tested at ``FALSE_POSITIVE_RATE`` / ``N_FIGURES`` (Bonferroni)."""
N_ORDERS = 999
"""Random orders; p-values are multiples of 1 / (N_ORDERS + 1), never 0 (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585)."""
LEAST_N = 10
LEAST_SEGMENT = 2
"""Measurements on each side: one alone is an outlier, not a change."""
LEAST_RATIO = 1.01
"""Smaller changes are left alone, however sure they are."""
LONGEST_N = 60


@dataclass(frozen=True)
class Change:
    """at: index of the first value after it. before, after: geometric means. p_value: of the test."""

    at: int
    before: float
    after: float
    p_value: float

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after / self.before


def find_change(values: Sequence[float], *, seed: int, rate: float = FALSE_POSITIVE_RATE / N_FIGURES) -> Change | None:
    """The change among the last ``LONGEST_N`` values, oldest first; None where there is none, or too few values to tell.

    values: positive figures. seed: of the random orders, so that the answer can be had again. Raises ValueError for a
    value that is not positive and finite.
    """
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError("a figure has to be positive and finite")
    offset = max(0, len(values) - LONGEST_N)
    logs = np.log(np.asarray(values[offset:], dtype=float))
    if len(logs) < LEAST_N:
        return None
    scores = _scores(logs[np.newaxis, :])[0]
    split = int(np.argmax(scores)) + LEAST_SEGMENT
    before, after = float(np.mean(logs[:split])), float(np.mean(logs[split:]))
    if abs(after - before) < math.log(LEAST_RATIO):
        return None
    orders = np.random.default_rng(seed).permuted(np.tile(logs, (N_ORDERS, 1)), axis=1)
    reached = int(np.sum(_scores(orders).max(axis=1) >= scores.max() * (1 - 1e-12)))
    p_value = (1 + reached) / (1 + N_ORDERS)
    return Change(offset + split, math.exp(before), math.exp(after), p_value) if p_value <= rate else None


def _scores(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each series (n_series, n) the score of every split, (n_series, n - 2 * LEAST_SEGMENT + 1)."""
    n = logs.shape[1]
    centred = logs - logs.mean(axis=1, keepdims=True)
    splits = np.arange(LEAST_SEGMENT, n - LEAST_SEGMENT + 1)
    sums = np.cumsum(centred, axis=1)[:, splits - 1]
    return np.asarray(np.abs(sums) * np.sqrt(n / (splits * (n - splits))))
