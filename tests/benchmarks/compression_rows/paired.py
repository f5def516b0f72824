"""Two arms over the same seeds: paired t and Wilcoxon, with effect size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import stats

N_ORDERS: Final = 6
JOINT_ARM: Final = "joint"
"""Name of the recipe, as edgefleet_compression.orders has it."""

SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True)
class PairedTest:
    """Mean difference a - b with its 95 % interval; d_z = mean over standard deviation of the differences.

    p values are two-sided; None where all differences are equal, so that neither test is defined.
    """

    n: int
    difference: float
    interval: tuple[float, float]
    d_z: float | None
    p_t: float | None
    p_wilcoxon: float | None


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """Compare arms seed by seed; ValueError for fewer than two pairs or different lengths."""
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(
            f"a paired test needs as many values on both sides and at least two, got {len(a)} and {len(b)}"
        )
    differences = np.asarray(a, float) - np.asarray(b, float)
    n, mean, deviation = len(differences), float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0.0:
        return PairedTest(n, mean, (mean, mean), None, None, None)
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return PairedTest(
        n=n,
        difference=mean,
        interval=(mean - half, mean + half),
        d_z=mean / deviation,
        p_t=float(stats.ttest_rel(a, b).pvalue),
        p_wilcoxon=float(stats.wilcoxon(differences).pvalue),
    )


def best_arm(validation: Mapping[str, Sequence[float]]) -> str:
    """Return the arm with the highest mean validation accuracy: the choice must not look at the test split."""
    return max(validation, key=lambda name: float(np.mean(validation[name])))


def joint_against_sequential(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in words how the joint arm compares with the best sequential one, as chosen on the validation split.

    rows: figures of all arms of one data set, with ``outcomes`` by seed. Empty text while an arm is missing.
    """
    joint = next((row for row in rows if row["recipe"]["name"] == JOINT_ARM), None)
    others = {row["name"]: row for row in rows if JOINT_ARM not in row["recipe"]["name"]}
    if joint is None or len(others) < N_ORDERS:
        return ""
    best = best_arm({name: _of(row, "validation_accuracy") for name, row in others.items()})
    test = paired_test(_of(joint, "accuracy"), _of(others[best], "accuracy"))
    low, high = (100 * value for value in test.interval)
    size = "undefined" if test.d_z is None else f"{test.d_z:.2f}"
    p_values = ", ".join(
        f"{name} p = {'undefined' if value is None else format(value, '.3f')}"
        for name, value in (("paired t", test.p_t), ("Wilcoxon", test.p_wilcoxon))
    )
    is_clear = test.p_t is not None and test.p_t < SIGNIFICANCE
    verdict = "no difference shown" if not is_clear else "joint ahead" if test.difference > 0 else "joint behind"
    return (
        f"- Joint against `{best}`, the best order on the validation split: {100 * test.difference:+.2f} points "
        f"[{low:+.2f}, {high:+.2f}] over {test.n} seeds, d_z {size}, {p_values}: {verdict}"
    )


def _of(row: Mapping[str, Any], field: str) -> list[float]:
    return [float(outcome[field]) for outcome in row["outcomes"]]
