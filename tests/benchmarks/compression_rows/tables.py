"""Markdown tables of finished rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.benchmarks.compression_rows.paired import joint_against_sequential

Figures = Mapping[str, Any]

COLUMNS: Final = (
    "row",
    "target",
    "bytes",
    "gzip",
    "size ratio",
    "MACs ratio",
    "sparsity",
    "accuracy %",
    "retention",
    "p50 speed-up",
    "peak MiB",
    "seeds",
    "cost s",
    "goal",
)
MIB: Final = 1024 * 1024
JOINT: Final = "Joint against sequential"


def tables(rows: Sequence[Figures]) -> str:
    """Return one table per heading, in the order in which headings first occur."""
    headings = list(dict.fromkeys(row["table"] for row in rows))
    return "\n".join(_table(heading, [row for row in rows if row["table"] == heading], rows) for heading in headings)


def _table(heading: str, rows: Sequence[Figures], every: Sequence[Figures]) -> str:
    lines = [f"## {heading}", "", *(f"- {text}" for text in _baselines(rows)), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    notes = [f"- `{row['name']}`: {row['note']}" for row in rows if row["note"]]
    against = [text for row in rows if (text := compared(row, every)) is not None]
    seeds = [joint_against_sequential(rows)] if heading.startswith(JOINT) else []
    return "\n".join([*lines, "", *notes, *against, *seeds, ""])


def _baselines(rows: Sequence[Figures]) -> list[str]:
    """Return one line per baseline that the rows are compared with."""
    return list(
        dict.fromkeys(
            f"{row['model']} on {row['data']}, {row['target']}: baseline {row['baseline_size_bytes']:,} bytes, "
            f"{row['baseline_accuracy']:.2%} of {row['n_test']} test samples"
            for row in rows
        )
    )


def _cells(row: Figures) -> list[str]:
    peak, speed = row["peak_memory_bytes"], row["speedup_p50"]
    return [
        f"`{row['name']}`",
        row["target"],
        f"{row['size_bytes']:,}",
        f"{row['gzip_bytes']:,}",
        f"{row['size_ratio']:.2f}",
        f"{row['macs_ratio']:.2f}",
        f"{row['sparsity']:.3f}",
        f"{100 * row['accuracy']:.2f}",
        f"{row['retention']:.4f}",
        "-" if speed is None else f"{speed:.2f}",
        "-" if peak is None else f"{peak / MIB:.1f}",
        str(len(row["seeds"])),
        f"{row['cost_s']:.0f}",
        goal_cell(row),
    ]


def goal_cell(row: Figures) -> str:
    """Return what was to be reached and whether it was."""
    if row["goal"] is None:
        return ""
    bounds = ", ".join(
        f"{name.replace('_', ' ')} >= {bound:g}" for name, bound in row["goal"].items() if bound is not None
    )
    return f"{bounds}: " + ("reached" if not row["missed"] else "**missed** " + ", ".join(row["missed"]))


def compared(row: Figures, rows: Sequence[Figures]) -> str | None:
    """Return how the row's accuracy compares with its control's, in points; None without a control at hand."""
    control = next((item for item in rows if item["name"] == row["control"]), None)
    if control is None:
        return None
    points = 100 * (row["accuracy"] - control["accuracy"])
    verdict = "ahead of" if points > 0 else "not ahead of"
    return f"- `{row['name']}` is {verdict} its control `{control['name']}`: {points:+.2f} points"
