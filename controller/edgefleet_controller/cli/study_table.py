"""A search's trials and report as tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgefleet_controller.cli.listing import Column
from edgefleet_controller.cli.output import console, print_table

JsonObject = dict[str, Any]
SCALES: Mapping[str, tuple[str, float, str]] = {
    "accuracy": ("accuracy", 100.0, "%"),
    "retention": ("kept", 100.0, "%"),
    "size_bytes": ("size", 1e-3, "kB"),
    "latency_p50_ms": ("p50", 1.0, "ms"),
    "latency_p90_ms": ("p90", 1.0, "ms"),
    "energy_mj": ("energy", 1.0, "mJ"),
    "peak_memory_bytes": ("memory", 1e-6, "MB"),
}
"""Metric -> title, factor and unit in a table."""


def trial_columns(trials: Sequence[JsonObject]) -> list[Column]:
    """Columns of a table of trials: the figures that some of them have."""
    metrics = [metric for metric in SCALES if any(metric in trial["values"] for trial in trials)]
    figures = [Column(metric, _title(metric), read=_reader(metric), show=_shower(metric)) for metric in metrics]
    return [
        Column("number", "trial"),
        Column("board"),
        Column("origin"),
        Column("fidelity"),
        Column("point", show=point_text),
        Column("target"),
        Column("state"),
        *figures,
        Column("feasible", "keeps bounds", show=lambda value: "yes" if value else "no"),
        Column("cause", "why it failed", read=lambda trial: (trial["cause"] or {}).get("code")),
    ]


def point_text(point: Mapping[str, Any]) -> str:
    """A point for a person."""
    return ", ".join(f"{name} {value}" for name, value in point.items()) or "-"


def print_report(report: JsonObject) -> None:
    """The report for a person: for each kind of board its finalists, or its front, and what is recommended."""
    for board in report["boards"]:
        _print_board(board)
    if report["partial"]:
        console.print(f"The study is {report['state']}: this is what it found so far.", markup=False)


def _print_board(board: JsonObject) -> None:
    if "trials" not in board:
        console.print(f"{board['board']}: left out, {board['left_out']['message']}", markup=False)
        return
    counts = board["trials"]
    entries = (board["check"] or {}).get("finalists") or board["front"]
    metrics = [metric for metric in SCALES if any(metric in entry["values"] for entry in entries)]
    chosen = board["recommended"]["trial"]
    rows = [
        (
            f"{entry['trial']}{' *' if entry['trial'] == chosen else ''}",
            *(_figure(entry["values"].get(metric), metric) for metric in metrics),
            _faster(entry),
            f"{entry['probability_feasible']:.2f}",
        )
        for entry in entries
    ]
    what = "measured again" if (board["check"] or {}).get("finalists") else "the front of the search"
    title = f"{board['board']}: {counts['completed']} trials completed, {counts['failed']} failed; {what}"
    titles = ["trial", *(_title(metric) for metric in metrics), "faster", "P(keeps bounds)"]
    print_table(titles, rows, title=title)
    _print_recommendation(board)


def _print_recommendation(board: JsonObject) -> None:
    found = board["recommended"]
    if found["trial"] is None:
        console.print(f"Nothing is recommended: {found['cause']['message']}", markup=False)
    else:
        console.print(f"Recommended: trial {found['trial']} ({'; '.join(found['why'])})", markup=False)
    for failure in board["failures"]:
        console.print(
            f"{len(failure['trials'])} trials failed with {failure['code']}: {failure['message']}", markup=False
        )


def _faster(entry: JsonObject) -> str | None:
    ratios = [device["speedup_p50"] for device in entry.get("devices", ()) if device["speedup_p50"]]
    if not ratios:
        return None
    low, high = ratios[0]["interval"]
    return f"{ratios[0]['value']:.2f}x [{low:.2f}, {high:.2f}]"


def _title(metric: str) -> str:
    title, _, unit = SCALES[metric]
    return f"{title} {unit}"


def _figure(value: JsonObject | None, metric: str) -> str | None:
    if value is None:
        return None
    factor = SCALES[metric][1]
    half = 1.96 * value["standard_error"] * factor
    return f"{factor * value['value']:.4g}" + (f" ± {half:.2g}" if half else "")


def _reader(metric: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda trial: (trial["values"].get(metric) or {}).get("value")


def _shower(metric: str) -> Callable[[Any], object]:
    return lambda value: f"{SCALES[metric][1] * value:.4g}"
