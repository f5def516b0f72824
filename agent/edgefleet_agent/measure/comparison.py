"""Comparing two series of interleaved blocks: pure functions of numbers."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.statistics import Interval, SamplesInsufficient
from edgefleet_agent.wire.comparison import Outcome

Block = NDArray[Any]
Floats = NDArray[np.float64]

LEAST_PAIRS = 12
"""Six couples: the 99 % bootstrap interval of their median then reaches from the smallest to the largest, nearly."""

LEAST_DIFFERENCE = 0.01
"""Differences below 1 % get no verdict: two launches of one model differ by as much (placement in memory, caches)."""

CONFIDENCE = 0.99
"""Of the interval that decides. On recorded noise 95 % gave twice the false positives for 5 % more detections."""

KEPT_SHARE = 0.5
"""Couples that count: those whose repeats of the same artifact agree best. The choice looks at A against A and at B
against B only, so it favours neither; on recorded noise of a busy host it cut the false positives from 15 to 3 of 100."""

LEAST_KEPT = 8
"""Couples that count at least, where there are as many; an interval of fewer would be too sure of itself."""

RUN_LENGTH = 5
"""Neighbouring couples drawn together by the bootstrap: on recorded noise the correlation of neighbours is 0.2 to 0.3 and
gone after five."""

N_RESAMPLES = 2000


class Comparison(NamedTuple):
    """``ratio``: latency of B over A; ``interval`` at ``confidence``; ``n_pairs`` pairs of blocks made it.

    ``n_kept``: couples (A B B A) that counted.
    """

    ratio: float
    interval: Interval
    outcome: Outcome
    n_pairs: int
    n_kept: int
    confidence: float


def block_sides(n_pairs: int) -> list[str]:
    """Order of the blocks, A B B A A B B A ...: a drift that is linear over two pairs cancels."""
    return [side for pair in range(n_pairs) for side in ("AB" if pair % 2 == 0 else "BA")]


def compare_blocks(
    blocks_a: Sequence[Block], blocks_b: Sequence[Block], *, confidence: float = CONFIDENCE, seed: int = 0
) -> Comparison:
    """Compare B with A; block i of one belongs to block i of the other, in the order of ``block_sides``.

    Two neighbouring pairs (A B B A) are a couple: the mean of their logarithmic ratios of block medians is free of
    linear drift. The ratio is the median over the half of the couples whose own repeats agree best; its interval comes
    from a bootstrap over runs of neighbouring couples. B is faster or slower where the interval excludes 1 and the ratio
    differs from it by at least 1 %.
    """
    kept = _calm_couples(_log_medians(blocks_a), _log_medians(blocks_b))
    draws = np.median(_draw_runs(kept, np.random.default_rng(seed)), axis=1)
    tail = 50.0 * (1.0 - confidence)
    low, high = (math.exp(value) for value in np.percentile(draws, [tail, 100.0 - tail]))
    ratio = math.exp(float(np.median(kept)))
    return Comparison(ratio, (low, high), judge(ratio, (low, high)), len(blocks_a), len(kept), confidence)


def judge(ratio: float, interval: Interval) -> Outcome:
    """The verdict on B from the ratio of latencies B / A and its interval."""
    if interval[0] > 1.0 and ratio >= 1.0 + LEAST_DIFFERENCE:
        return Outcome.SLOWER
    if interval[1] < 1.0 and ratio <= 1.0 - LEAST_DIFFERENCE:
        return Outcome.FASTER
    return Outcome.NO_DIFFERENCE


def _log_medians(blocks: Sequence[Block]) -> Floats:
    if not all(len(block) for block in blocks):
        raise SamplesInsufficient("a comparison needs samples in every block")
    return np.log([float(np.median(block)) for block in blocks])


def _calm_couples(a: Floats, b: Floats) -> Floats:
    """Logarithmic ratios of the calmer half of the couples, in order of time; a last single pair is left out."""
    if len(a) != len(b) or len(a) < LEAST_PAIRS:
        raise SamplesInsufficient(
            "a comparison needs as many blocks of B as of A and at least {}, got {} and {}".format(
                LEAST_PAIRS, len(a), len(b)
            )
        )
    even = len(a) - len(a) % 2
    first, second = a[:even].reshape(-1, 2), b[:even].reshape(-1, 2)
    ratios = (second - first).mean(axis=1)
    disagreement = np.abs(np.diff(first, axis=1)).ravel() + np.abs(np.diff(second, axis=1)).ravel()
    n_kept = max(math.ceil(KEPT_SHARE * len(ratios)), min(len(ratios), LEAST_KEPT))
    return np.asarray(ratios[np.sort(np.argsort(disagreement, kind="stable")[:n_kept])])


def _draw_runs(values: Floats, rng: np.random.Generator) -> Floats:
    """Circular block bootstrap (Politis and Romano 1992): N_RESAMPLES rows as long as the values."""
    n = len(values)
    length = min(RUN_LENGTH, max(1, n // 8))
    starts = rng.integers(0, n, size=(N_RESAMPLES, -(-n // length)))
    positions = (starts[:, :, None] + np.arange(length)) % n
    return np.asarray(values[positions.reshape(N_RESAMPLES, -1)[:, :n]])
