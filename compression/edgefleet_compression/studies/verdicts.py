"""Supported, falsified or undecided: an interval against two thresholds."""

from collections.abc import Sequence
from typing import Literal

Verdict = Literal["supported", "falsified", "undecided"]

MIN_REPETITIONS = 6
"""Below this no two-sided Wilcoxon test over pairs can reach p < 0.05 (2 / 2^5 = 0.0625), and nothing is decided."""


def judge(low: float, high: float, *, supported_from: float, falsified_below: float, n: int) -> Verdict:
    """Return supported if the interval begins at or above the one threshold, falsified if it ends below the other.

    Between the thresholds, across one of them or with fewer than six repetitions: undecided.
    """
    if n < MIN_REPETITIONS:
        return "undecided"
    if low >= supported_from:
        return "supported"
    return "falsified" if high < falsified_below else "undecided"


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on claims that all have to hold: falsified if one is, supported if all are."""
    if "falsified" in verdicts:
        return "falsified"
    return "supported" if verdicts and set(verdicts) == {"supported"} else "undecided"
