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
    """Return the arm with the highest mean accuracy; a choice that counts looks at the validation split alone."""
    return max(validation, key=lambda name: float(np.mean(validation[name])))


def joint_against_sequential(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in words how the joint arm compares with the best sequential one, as chosen on the validation split, and with
    the one that is best on the test split where that is another.

    rows: figures of all arms of one data set, with ``outcomes`` by seed. Empty text while an arm is missing.
    """
    joint = next((row for row in rows if row["recipe"]["name"] == JOINT_ARM), None)
    others = {row["name"]: row for row in rows if JOINT_ARM not in row["recipe"]["name"]}
    if joint is None or len(others) < N_ORDERS:
        return ""
    best = best_arm({name: _of(row, "validation_accuracy") for name, row in others.items()})
    chosen = _in_words(joint, others[best], f"`{best}`, the best order on the validation split")
    highest = best_arm({name: _of(row, "accuracy") for name, row in others.items()})
    if highest == best:
        return chosen
    return (
        f"{chosen}\n{_in_words(joint, others[highest], f'`{highest}`, the best order in hindsight, on the test split')}"
    )


def _in_words(joint: Mapping[str, Any], other: Mapping[str, Any], which: str) -> str:
    test = paired_test(_of(joint, "accuracy"), _of(other, "accuracy"))
    low, high = (100 * value for value in test.interval)
    size = "undefined" if test.d_z is None else f"{test.d_z:.2f}"
    p_values = ", ".join(
        f"{name} p = {'undefined' if value is None else format(value, '.3f')}"
        for name, value in (("paired t", test.p_t), ("Wilcoxon", test.p_wilcoxon))
    )
    is_clear = test.p_t is not None and test.p_t < SIGNIFICANCE
    verdict = "no difference shown" if not is_clear else "joint ahead" if test.difference > 0 else "joint behind"
    return (
        f"- Joint against {which}: {100 * test.difference:+.2f} points "
        f"[{low:+.2f}, {high:+.2f}] over {test.n} seeds, d_z {size}, {p_values}: {verdict}"
    )


def _of(row: Mapping[str, Any], field: str) -> list[float]:
    return [float(outcome[field]) for outcome in row["outcomes"]]
