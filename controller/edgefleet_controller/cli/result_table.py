"""The table of a job's variants, as every command shows it."""

from collections.abc import Sequence
from typing import Any

from edgefleet_controller.cli.check_table import print_checks
from edgefleet_controller.cli.output import console, print_table
from edgefleet_controller.jobs.sweep import settings_label

JsonObject = dict[str, Any]

COLUMNS = (
    "variant",
    "device",
    "target",
    "size",
    "smaller",
    "accuracy",
    "kept",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "n",
    "per s",
    "faster",
    "memory",
    "mJ",
    "verdict",
    "front",
)


def print_results(rows: Sequence[JsonObject], *, title: str | None = None) -> None:
    """One line for each variant and device; a failed run keeps its line with the reason.

    Notes that every row has, such as re-estimated BatchNorm statistics, tell nothing about one of them and are left out.
    """
    in_all = set.intersection(*(set(row.get("notes") or ()) for row in rows)) if len(rows) > 1 else set()
    metric = next((row["metric"] for row in rows if row.get("metric", "top1") != "top1"), None)
    extra = () if metric is None else (metric, f"{metric} on host")
    print_table(
        (*COLUMNS, *extra),
        [
            (*_cells(row), *((_figure(row, "metric_device"), _figure(row, "metric_host")) if extra else ()))
            for row in rows
        ],
        title=title,
    )
    print_checks(rows, _label)
    for row in rows:
        if line := _across_targets(row):
            console.print(f"{_label(row)}: {line}", markup=False)
    for row in rows:
        reasons = ", ".join(row["verdict"]["reasons"])
        if row["verdict"]["status"] != "valid" and reasons:
            console.print(f"{_label(row)}: {row['verdict']['status']} because of {reasons}", markup=False)
        if notes := [note for note in row.get("notes") or () if note not in in_all]:
            console.print(f"{_label(row)}: note {', '.join(notes)}", markup=False)


def _across_targets(row: JsonObject) -> str | None:
    """Size and speed beside the baseline of the job's first target, for a row of another target."""
    across = row.get("across_targets")
    if not across or across["reference_target"] == row["target"] or across["speedup_p50"] is None:
        return None
    return "{} faster and {} smaller than {} ({}); the table compares it with {}".format(
        _times(across["speedup_p50"]),
        _times(across["size_ratio"]),
        across["reference"],
        across["reference_target"],
        row["reference"] or "nothing",
    )


def _cells(row: JsonObject) -> tuple[object, ...]:
    latency = row["latency_ms"] or {}
    energy = row["energy"]
    return (
        _label(row),
        _device(row),
        row["target"],
        _bytes(row["size_bytes"]),
        _times(row["size_ratio"]),
        _percent(row["accuracy_device"]),
        _percent(row["retention"]),
        _ms(latency.get("p50")),
        _ms(latency.get("p90")),
        _ms(latency.get("p99")),
        latency.get("n"),
        _per_second(latency.get("throughput_per_s")),
        _times(row["speedup_p50"]),
        _bytes(row["peak_memory_bytes"]),
        f"{energy['value_mj']:.3g}" if energy.get("value_mj") is not None else energy.get("reason"),
        row["verdict"]["status"],
        "yes" if row["on_front"] else "",
    )


def _figure(row: JsonObject, field: str) -> str | None:
    """The job's metric, or why the device has none."""
    value = row[field]
    if value is not None:
        return f"{value:.4f}"
    return row["metric_reason"] if field == "metric_device" else None


def _label(row: JsonObject) -> str:
    """The variant's name, in a sweep with the settings that differ."""
    swept = settings_label(row.get("settings") or {})
    return f"{row['name']} ({swept})" if swept else str(row["name"])


def _per_second(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _device(row: JsonObject) -> str | None:
    """The device's name, marked where its figures were not measured."""
    name = row.get("device_name") or row.get("device")
    provenance = row.get("provenance")
    return name if name is None or provenance in (None, "measured") else f"{name} ({provenance})"


def _bytes(value: float | None) -> str | None:
    if value is None:
        return None
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}" if unit != "B" else f"{value:.0f} B"
        value /= 1000
    return f"{value:.3g} GB"


def _times(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}x"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f} %"


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
