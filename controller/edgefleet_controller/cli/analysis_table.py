"""The tables of an analysis before compression."""

from collections.abc import Mapping
from typing import Any

from edgefleet_controller.cli.output import console, print_table

JsonObject = dict[str, Any]
REASONS: Mapping[str, str] = {
    "no_data": "no labelled data was given: --data digits or FILE.npz shows what each layer can lose",
    "no_labels": "the data has no labels: add an integer array y",
    "no_torch_form": "the ONNX file has no torch form",
    "shape_unknown": "the file does not say the shapes of all values",
    "macs_not_countable": "a shape is not known, or an operator's work does not follow from shapes",
}


def print_analysis(name: str, result: JsonObject) -> None:
    """Totals, one line per layer, one line per recipe, and why what is missing is missing."""
    _print_totals(name, result)
    columns = ("layer", "kind", "parameters", "MACs", "output", "redundant")
    prunes, bits = _keys(result, "pruned"), _keys(result, "rounded")
    names = (*(f"-{100 * float(share):.0f} %" for share in prunes), *(f"{n} bit" for n in bits))
    rows = [
        (
            layer["name"],
            layer["kind"],
            _count(layer["n_parameters"]),
            _count(layer["macs"]),
            _bytes(layer["activation_bytes"]),
            f"{100 * layer['redundant_share']:.0f} %",
            *(_percent(layer["pruned"][share]["accuracy"]) for share in prunes),
            *(_percent(layer["rounded"][n]["accuracy"]) for n in bits),
        )
        for layer in result["layers"]
    ]
    print_table((*columns, *names), rows, title="Layers")
    if names:
        console.print(
            "-50 %: accuracy when half of this one layer's weights are zero; 4 bit: when its weights are rounded so. "
            f"{result['n_samples']} validation samples: differences below {_resolution(result):.1f} points are noise.",
            markup=False,
        )
    _print_expected(result)
    _print_unknown(result)


def _print_totals(name: str, result: JsonObject) -> None:
    counter = result["macs_by_counter"]
    counts = (
        f"{_count(result['macs'])} in the layers, {_count(counter)} by torch's counter" if counter is not None else None
    )
    baseline = result["baseline"]
    lines = {
        "parameters": f"{_count(result['n_parameters'])}, {100 * result['redundant_share']:.0f} % of weights redundant",
        "MACs": counts or _count(result["macs"]),
        "activations": f"{_bytes(result['peak_activation_bytes'])} alive at once, one sample, float32",
        "accuracy": None if baseline is None else f"{_percent(baseline['accuracy'])} on validation samples",
    }
    console.print(name, markup=False)
    for label, value in lines.items():
        console.print(f"  {label}: {value if value is not None else '-'}", markup=False)


def _print_expected(result: JsonObject) -> None:
    float_bytes = 4 * result["n_parameters"]
    rows = [
        (
            row["recipe"],
            _bytes(row["size_bytes"]),
            f"{float_bytes / row['size_bytes']:.2f}x" if row["size_bytes"] else None,
            _count(row["n_parameters"]),
            _count(row["macs"]),
            row["reason"] or "",
        )
        for row in result["expected"]
    ]
    columns = ("recipe", "weights", "smaller", "parameters", "MACs", "why not")
    print_table(columns, rows, title="Expected size (parameters as stored; the graph comes on top)")


def _print_unknown(result: JsonObject) -> None:
    fields_of: dict[str, list[str]] = {}
    for field, reason in result["unknown"].items():
        fields_of.setdefault(reason, []).append(field)
    for reason, fields in fields_of.items():
        console.print(f"Not known: {', '.join(fields)} ({reason}): {REASONS.get(reason, reason)}.", markup=False)
    for obstacle in result["obstacles"]:
        console.print(f"No torch form: {obstacle}", markup=False)
    for note in result["notes"]:
        console.print(f"note {note}", markup=False)


def _keys(result: JsonObject, field: str) -> list[str]:
    return list(result["layers"][0][field]) if result["layers"] else []


def _resolution(result: JsonObject) -> float:
    """Two standard errors of the accuracy, in points."""
    share, n = result["baseline"]["accuracy"], result["n_samples"]
    return float(200 * (max(share * (1 - share), 1 / n) / n) ** 0.5)


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _bytes(value: int | None) -> str | None:
    return None if value is None else f"{value:,} B"
