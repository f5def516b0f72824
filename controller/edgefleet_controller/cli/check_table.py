"""The second table of a job's results: what shows that the runs computed the right thing."""

from collections.abc import Callable, Sequence
from typing import Any

from edgefleet_controller.cli.output import print_table

JsonObject = dict[str, Any]

COLUMNS = ("variant", "device", "golden", "SNR dB", "host dB", "needs dB", "same class as host", "ran on")


def print_checks(rows: Sequence[JsonObject], label: Callable[[JsonObject], str]) -> None:
    """One line for each row that has a check; nothing where none has."""
    checked = [row for row in rows if row.get("golden") or row.get("host_agreement") or row.get("placement")]
    if checked:
        print_table(COLUMNS, [_cells(row, label(row)) for row in checked], title="Checks on the device")


def _cells(row: JsonObject, name: str) -> tuple[object, ...]:
    golden = row.get("golden") or {}
    return (
        name,
        row.get("device_name"),
        _verdict(golden),
        _snr(golden, "snr_db"),
        _snr(golden, "host_snr_db"),
        _decibel(golden.get("required_snr_db")),
        _agreement(row.get("host_agreement")),
        _placement(row.get("placement") or {}),
    )


def _verdict(golden: JsonObject) -> str | None:
    if not golden:
        return None
    return "passed" if golden["passed"] else "wrong"


def _snr(golden: JsonObject, field: str) -> str | None:
    if not golden:
        return None
    if field == "snr_db" and golden["n_non_finite"]:
        return f"{golden['n_non_finite']} NaN"
    return "exact" if golden[field] is None else _decibel(golden[field])


def _decibel(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"


def _agreement(agreement: JsonObject | None) -> str | None:
    if agreement is None:
        return None
    return f"{agreement['n'] - agreement['n_disagree']} of {agreement['n']}"


def _placement(placement: JsonObject) -> str | None:
    shares = placement.get("shares") or {}
    if not shares:
        return "unknown" if placement else None
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
