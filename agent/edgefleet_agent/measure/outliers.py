"""Why some inferences took so long: what else happened in the segment of the timed part they fell into."""

from collections import Counter
from typing import NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.statistics import outlier_fence

N_DONE, T_NS, MAJOR_FAULTS, INVOLUNTARY, CPU, FREQUENCY = range(6)
"""Rows of the segments the runner saves (runner.watch.COLUMNS)."""

THROTTLE_SHARE = 0.95
"""A core this far below the highest frequency of the run counts as throttled: one step of a Raspberry Pi is 100 of
1500 MHz, so any step down is seen and the rounding of other drivers (some 0.1 %) is not."""

UNEXPLAINED = "unexplained"

Rows = NDArray[np.int64]


class Causes(NamedTuple):
    """``outliers``: cause -> outliers it may explain; ``segment_share``: cause -> share of all segments it was seen in.

    A cause seen in most segments explains little, so both are reported.
    """

    outliers: dict[str, int]
    segment_share: dict[str, float]


def attribute_outliers(
    latency_ns: Rows, segments: Rows, n_removed: int = 0, fence_ns: Optional[float] = None
) -> Causes:
    """Count the outliers of a series (beyond Q3 + 3 IQR, or beyond ``fence_ns``) by what happened in their segment.

    ``segments``: one column per segment after a first one with the state before. ``n_removed``: samples cut off the
    front of the series as warm-up; segments count from before them.
    """
    flags = _segment_flags(segments)
    n_segments = max(1, segments.shape[1] - 1)
    share = {name: float(np.count_nonzero(seen)) / n_segments for name, seen in flags.items()}
    fence = fence_ns if fence_ns is not None or not latency_ns.size else outlier_fence(latency_ns)
    late = np.flatnonzero(latency_ns > (np.inf if fence is None else fence))
    where = np.searchsorted(segments[N_DONE, 1:], late + n_removed, side="right")
    counts: Counter[str] = Counter()
    for index in where:
        causes = [name for name, seen in flags.items() if index < seen.size and seen[index]]
        counts.update(causes or [UNEXPLAINED])
    return Causes(dict(counts), share)


def _segment_flags(segments: Rows) -> dict[str, NDArray[np.bool_]]:
    cpu, khz = segments[CPU], segments[FREQUENCY]
    return {
        "throttle": (khz[1:] > 0) & (khz[1:] < THROTTLE_SHARE * max(int(khz.max(initial=0)), 1)),
        "migration": (cpu[1:] != cpu[:-1]) & (cpu[1:] >= 0),
        "major_fault": segments[MAJOR_FAULTS, 1:] > 0,
        "involuntary_switch": segments[INVOLUNTARY, 1:] > 0,
    }


def merge_causes(parts: "list[Causes]") -> Causes:
    """The sum over several launches; shares are means."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.outliers)
    names = parts[0].segment_share if parts else {}
    return Causes(dict(total), {name: sum(part.segment_share[name] for part in parts) / len(parts) for name in names})
