"""The sweep as one line per criterion, instead of one per row."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.benchmarks.compression_rows.controls import compare

Figures = Mapping[str, Any]

SWEEP: Final = "Sweep"
EXPLAINED: Final = (
    "Accuracy in %, and in brackets the points ahead of random. **Bold**: best of the column; + and -: ahead of random or "
    "behind it by more than chance."
)


def sweep_table(heading: str, rows: Sequence[Figures]) -> str:
    """Return criterion by amount; rows are those of one heading, named what-criterion-percent."""
    cells = {(_parts(row)[1], _parts(row)[2]): row for row in rows}
    criteria = list(dict.fromkeys(criterion for criterion, _ in cells))
    amounts = sorted({amount for _, amount in cells})
    by_name = {row["name"]: row for row in rows}
    best = {amount: max(row["accuracy"] for (_, at), row in cells.items() if at == amount) for amount in amounts}
    baseline = f"Without pruning: {100 * rows[0]['baseline_accuracy']:.1f} %, {rows[0]['n_test']:,} test samples of {rows[0]['data']}."
    lines = [f"## {heading}", "", f"{baseline} {EXPLAINED}", ""]
    lines += [
        "| criterion | " + " | ".join(f"{amount} %" for amount in amounts) + " |",
        "|" + "---|" * (len(amounts) + 1),
    ]
    for criterion in criteria:
        found = [_cell(cells.get((criterion, amount)), by_name, best[amount]) for amount in amounts]
        lines.append(f"| {criterion} | " + " | ".join(found) + " |")
    lines += [
        _ratios(name, field, cells, amounts)
        for name, field in (("size ratio", "size_ratio"), ("MACs ratio", "macs_ratio"))
    ]
    return "\n".join([*lines, ""])


def _parts(row: Figures) -> tuple[str, str, int]:
    what, criterion, amount = row["name"].split("-")[:3]
    return what, criterion, int(amount)


def _cell(row: Figures | None, rows: Mapping[str, Figures], best: float) -> str:
    if row is None:
        return ""
    text = f"{100 * row['accuracy']:.1f}"
    text = f"**{text}**" if row["accuracy"] == best else text
    control = rows.get(row["control"])
    if control is None:
        return text
    found = compare(row, control)
    sign = "" if abs(found.difference) <= found.chance else "+" if found.difference > 0 else "-"
    return f"{text} ({100 * found.difference:+.1f}){sign}"


def _ratios(name: str, field: str, cells: Mapping[tuple[str, int], Figures], amounts: Sequence[int]) -> str:
    """Return the smallest and largest ratio of each column."""
    found = []
    for amount in amounts:
        values = [row[field] for (_, at), row in cells.items() if at == amount]
        low, high = min(values), max(values)
        found.append(f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}")
    return f"| *{name}* | " + " | ".join(found) + " |"
