"""The table of a job: typed rows, and the flat columns that files and data frames have."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from edgefleet_controller.client.errors import ExtraMissing, JsonObject

if TYPE_CHECKING:
    import pandas as pd

Interval = tuple[float, float]

COLUMNS: Mapping[str, tuple[type, tuple[str | int, ...]]] = MappingProxyType(
    {
        "variant": (str, ("name",)),
        "recipe": (str, ("recipe",)),
        "target": (str, ("target",)),
        "device": (str, ("device_name",)),
        "settings": (str, ("settings",)),
        "batch": (int, ("batch",)),
        "provenance": (str, ("provenance",)),
        "verdict": (str, ("verdict", "status")),
        "verdict_reasons": (str, ("verdict", "reasons")),
        "size_bytes": (int, ("size_bytes",)),
        "size_ratio": (float, ("size_ratio",)),
        "accuracy": (float, ("accuracy_device",)),
        "accuracy_low": (float, ("accuracy_interval", 0)),
        "accuracy_high": (float, ("accuracy_interval", 1)),
        "accuracy_n": (int, ("accuracy_n",)),
        "accuracy_host": (float, ("accuracy_host",)),
        "metric": (str, ("metric",)),
        "metric_device": (float, ("metric_device",)),
        "retention": (float, ("retention",)),
        "latency_p50_ms": (float, ("latency_ms", "p50")),
        "latency_p50_low_ms": (float, ("latency_ms", "intervals", "p50", 0)),
        "latency_p50_high_ms": (float, ("latency_ms", "intervals", "p50", 1)),
        "latency_p90_ms": (float, ("latency_ms", "p90")),
        "latency_p99_ms": (float, ("latency_ms", "p99")),
        "latency_n": (int, ("latency_ms", "n")),
        "throughput_per_s": (float, ("latency_ms", "throughput_per_s")),
        "speedup_p50": (float, ("speedup_p50",)),
        "peak_memory_bytes": (int, ("peak_memory_bytes",)),
        "energy_mj": (float, ("energy", "value_mj")),
        "energy_uncertainty_mj": (float, ("energy", "expanded_uncertainty_mj")),
        "energy_scope": (str, ("energy", "scope")),
        "energy_reason": (str, ("energy", "reason")),
        "on_front": (bool, ("on_front",)),
        "error_code": (str, ("error", "code")),
        "artifact_sha256": (str, ("artifact_sha256",)),
        "samples_sha256": (str, ("samples_sha256",)),
        "variant_id": (str, ("variant_id",)),
        "run_id": (str, ("run_id",)),
    }
)
"""Column -> type and place in a row of ``GET /v1/results``. Names end in the unit; a list is joined with commas."""


@dataclass(frozen=True)
class ResultRow:
    """One variant on one device. None where there is no figure; why stands beside it or in ``verdict_reasons``."""

    variant: str
    target: str
    device: str | None
    provenance: str | None
    verdict: str
    verdict_reasons: tuple[str, ...]
    size_bytes: int | None
    accuracy: float | None
    accuracy_interval: Interval | None
    latency_p50_ms: float | None
    latency_p90_ms: float | None
    latency_p99_ms: float | None
    latency_p50_interval_ms: Interval | None
    throughput_per_s: float | None
    peak_memory_bytes: int | None
    energy_mj: float | None
    energy_uncertainty_mj: float | None
    energy_reason: str | None
    on_front: bool
    artifact_sha256: str | None
    run_id: str | None
    document: JsonObject = field(repr=False)
    """the row as the API gives it, with all that has no field here"""

    @property
    def is_trusted(self) -> bool:
        """Whether the measurement is valid or suspect, so that its figures may be compared."""
        return self.verdict in ("valid", "suspect")


def row_of(document: JsonObject) -> ResultRow:
    """The typed row of a document of ``GET /v1/results``."""
    flat = flat_row(document)
    same = {
        name: flat[name] for name in ResultRow.__dataclass_fields__ if name in COLUMNS and name != "verdict_reasons"
    }
    latency: JsonObject = document["latency_ms"] or {}
    return ResultRow(
        **same,
        verdict_reasons=tuple(document["verdict"]["reasons"]),
        accuracy_interval=_interval(document["accuracy_interval"]),
        latency_p50_interval_ms=_interval(latency.get("intervals", {}).get("p50")),
        document=document,
    )


def flat_row(document: Mapping[str, Any]) -> dict[str, Any]:
    """Every column of ``COLUMNS`` in order; None where the document has nothing there."""
    return {name: _plain(_at(document, place)) for name, (_, place) in COLUMNS.items()}


def _at(document: Any, place: Sequence[str | int]) -> Any:
    for step in place:
        if document is None:
            return None
        document = document[step] if isinstance(step, int) else document.get(step)
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={item}" for name, item in value.items())
    return value


def _interval(pair: Sequence[float] | None) -> Interval | None:
    return None if pair is None else (float(pair[0]), float(pair[1]))


class Results(Sequence[ResultRow]):
    """The rows of a job in the order of its variants. ``partial``: the job has not ended, or was stopped before its end."""

    def __init__(self, documents: Sequence[JsonObject], *, partial: bool) -> None:
        self.documents = tuple(documents)
        self.partial = partial
        self._rows = tuple(row_of(document) for document in documents)

    @overload
    def __getitem__(self, index: int) -> ResultRow: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ResultRow]: ...

    def __getitem__(self, index: int | slice) -> ResultRow | Sequence[ResultRow]:
        """One row, or several."""
        return self._rows[index]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __iter__(self) -> Iterator[ResultRow]:
        """The rows."""
        return iter(self._rows)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with the columns of ``COLUMNS``, null where there is no figure; ExtraMissing without pandas."""
        try:
            import pandas as pd
        except ImportError as err:
            raise ExtraMissing("pandas", "pandas") from err
        kinds = {str: "string", int: "Int64", float: "Float64", bool: "boolean"}
        rows = [flat_row(document) for document in self.documents]
        return pd.DataFrame(
            {name: pd.array([row[name] for row in rows], dtype=kinds[kind]) for name, (kind, _) in COLUMNS.items()}
        )

    def to_csv(self, path: Path) -> Path:
        """Write the columns of ``COLUMNS`` as CSV (RFC 4180, UTF-8); an empty field is no figure."""
        path.write_bytes(csv_of([flat_row(document) for document in self.documents], list(COLUMNS)).encode())
        return path

    def to_json(self, path: Path) -> Path:
        """Write the rows as the API gives them."""
        document = {"partial": self.partial, "items": list(self.documents)}
        path.write_text(json.dumps(document, indent=2) + "\n")
        return path

    def to_parquet(self, path: Path) -> Path:
        """Write the columns of ``COLUMNS`` as Parquet; ExtraMissing without pyarrow."""
        from edgefleet_controller.exports.parquet import write_parquet

        return write_parquet(self, path)


def csv_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header.

    A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV Injection"): names come
    from people and boards.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
