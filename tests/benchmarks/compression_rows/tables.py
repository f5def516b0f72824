"""Markdown tables of finished rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.benchmarks.compression_rows.controls import controls_table
from tests.benchmarks.compression_rows.paired import joint_against_sequential
from tests.benchmarks.compression_rows.sweep_table import SWEEP, sweep_table

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
    """Return one table per heading, in the order in which headings first occur, and that of all controls."""
    headings = list(dict.fromkeys(row["table"] for row in rows))
    made = [_table(heading, [row for row in rows if row["table"] == heading]) for heading in headings]
    single = [row for row in rows if not row["table"].startswith(SWEEP)]
    return "\n".join(text for text in (*made, controls_table(single)) if text)


def _table(heading: str, rows: Sequence[Figures]) -> str:
    if heading.startswith(SWEEP):
        return sweep_table(heading, rows)
    lines = [f"## {heading}", "", *(f"- {text}" for text in _baselines(rows)), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    notes = [f"- `{row['name']}`: {row['note']}" for row in rows if row["note"]]
    seeds = [joint_against_sequential(rows)] if heading.startswith(JOINT) else []
    return "\n".join([*lines, "", *notes, *seeds, ""])


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
