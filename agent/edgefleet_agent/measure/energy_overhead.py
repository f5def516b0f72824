"""What sampling costs the inference: metered and unmetered blocks of one process launch, interleaved M U U M."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.statistics import Estimate, paired_ratio
from edgefleet_agent.wire.reasons import Reason

MEDIAN_LIMIT = 1.01
P99_LIMIT = 1.03
"""Aims of reference section 9; a remark is made where the interval lies above them."""


@dataclass(frozen=True)
class Overhead:
    """Metered / unmetered latency with 95 % bootstrap intervals over the pairs of blocks."""

    median_ratio: Estimate
    p99_ratio: Estimate

    @property
    def remarks(self) -> tuple[Reason, ...]:
        """``overhead_high`` where the slowdown is sure to exceed the aims."""
        is_high = self.median_ratio.low > MEDIAN_LIMIT or self.p99_ratio.low > P99_LIMIT
        return (Reason.OVERHEAD_HIGH,) if is_high else ()

    def to_json(self) -> dict[str, Any]:
        """Return both ratios with their intervals."""
        return {
            "overhead_median_ratio": list(self.median_ratio),
            "overhead_p99_ratio": list(self.p99_ratio),
        }


def block_order(n_pairs: int) -> Iterator[bool]:
    """Yield whether each block is metered: M U U M M U U M ..., so that a drift cancels."""
    for pair in range(n_pairs):
        yield from ((True, False) if pair % 2 == 0 else (False, True))


def compare_overhead(metered: Sequence[NDArray[np.float64]], unmetered: Sequence[NDArray[np.float64]]) -> Overhead:
    """Return the overhead from blocks of latencies; block i of one belongs to block i of the other."""
    pairs = (metered, unmetered)
    medians = [[float(np.median(block)) for block in blocks] for blocks in pairs]
    tails = [[float(np.percentile(block, 99)) for block in blocks] for blocks in pairs]
    return Overhead(paired_ratio(medians[0], medians[1]), paired_ratio(tails[0], tails[1]))
