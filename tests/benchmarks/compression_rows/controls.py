"""Every technique beside its control, and whether the difference is more than the test samples' chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.benchmarks.compression_rows.paired import SIGNIFICANCE, paired_test

Figures = Mapping[str, Any]

TITLE: Final = "Techniques against their controls"
EXPLAINED: Final = (
    "Same budget, same starting model; accuracy of files on the same test samples. Chance is the 95 % bound of a difference "
    "between two shares of that many samples, as if they were drawn anew for each row: on the safe side, since both rows "
    "saw the same ones. Over several seeds it is the interval of a paired t test."
)
Z_95: Final = 1.96


@dataclass(frozen=True)
class Comparison:
    """A row less its control. chance: half the width of the 95 % interval; all in shares."""

    name: str
    control: str
    difference: float
    chance: float
    size_ratio: float
    """Bytes of the control's file over this one's."""

    @property
    def verdict(self) -> str:
        """Whether the technique beats its control."""
        if abs(self.difference) <= self.chance:
            return "no difference shown"
        return "beats it" if self.difference > 0 else "**behind it**"


def compare(row: Figures, control: Figures) -> Comparison:
    """Compare two rows of the same data; by seed where both have several."""
    seeds = min(len(row["outcomes"]), len(control["outcomes"]))
    difference, chance = row["accuracy"] - control["accuracy"], _chance(row, control)
    if seeds > 1 and row["seeds"] == control["seeds"]:
        both = ([float(outcome["accuracy"]) for outcome in one["outcomes"]] for one in (row, control))
        test = paired_test(*both)
        is_clear = test.p_t is not None and test.p_t < SIGNIFICANCE
        chance = (test.interval[1] - test.interval[0]) / 2 if is_clear or test.p_t is not None else 0.0
    return Comparison(row["name"], control["name"], difference, chance, control["size_bytes"] / row["size_bytes"])


def _chance(row: Figures, control: Figures) -> float:
    variances = [one["accuracy"] * (1.0 - one["accuracy"]) / one["n_test"] for one in (row, control)]
    return Z_95 * math.sqrt(sum(variances))


def controls_table(rows: Sequence[Figures]) -> str:
    """Return the table of all rows whose control is among them; empty text without any."""
    by_name = {row["name"]: row for row in rows}
    pairs = [(row, name) for row in rows for name in (row["control"], *row.get("other_controls", ()))]
    found = [compare(row, by_name[name]) for row, name in pairs if name in by_name]
    if not found:
        return ""
    lines = [
        f"## {TITLE}",
        "",
        EXPLAINED,
        "",
        "| technique | control | points | chance | control's bytes over its own | |",
    ]
    lines.append("|---|---|---|---|---|---|")
    lines += [
        f"| `{one.name}` | `{one.control}` | {100 * one.difference:+.2f} | ±{100 * one.chance:.2f} | "
        f"{one.size_ratio:.2f} | {one.verdict} |"
        for one in found
    ]
    return "\n".join([*lines, ""])
