"""Whether one sampler's shares are larger than another's, over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scipy.stats import mannwhitneyu

TEST = "Mann-Whitney U, two-sided, seeds of the samplers independent; Holm over the comparisons"


@dataclass(frozen=True)
class Compared:
    """p: unadjusted; p_holm: adjusted; probability_better: Vargha-Delaney A, chance that a seed of the first beats one of the
    second, ties half (Vargha, Delaney 2000, JEBS 25(2)).
    """

    against: str
    median_first: float
    median_second: float
    p: float
    p_holm: float
    probability_better: float
    n_first: int
    n_second: int
    test: str = TEST


def compare(first: Sequence[float], others: dict[str, Sequence[float]]) -> dict[str, Compared]:
    """Return the comparison of the first with each of the others."""
    raw = {name: float(mannwhitneyu(first, second, alternative="two-sided").pvalue) for name, second in others.items()}
    adjusted = holm(raw)
    return {
        name: Compared(
            against=name,
            median_first=median(first),
            median_second=median(second),
            p=raw[name],
            p_holm=adjusted[name],
            probability_better=_chance(first, second),
            n_first=len(first),
            n_second=len(second),
        )
        for name, second in others.items()
    }


def holm(raw: dict[str, float]) -> dict[str, float]:
    """Return p values adjusted for their number (Holm 1979)."""
    adjusted: dict[str, float] = {}
    floor = 0.0
    for place, name in enumerate(sorted(raw, key=raw.__getitem__)):
        floor = max(floor, min(1.0, (len(raw) - place) * raw[name]))
        adjusted[name] = floor
    return adjusted


def _chance(first: Sequence[float], second: Sequence[float]) -> float:
    wins = sum((own > other) + 0.5 * (own == other) for own in first for other in second)
    return wins / (len(first) * len(second))
