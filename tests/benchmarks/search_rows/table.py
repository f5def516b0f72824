"""The exhaustive grid as a table: every recipe of the space, carried out once; one compact JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import Metric
from edgefleet_compression.search.space import SearchSpace, parse_space, plan_of


@dataclass(frozen=True)
class GridRow:
    """One recipe's figures. accuracy_validation: the compiled file's on the images that the search sees; accuracy_dev: on dev5k,
    for reports, of rows on the grid's front. latency_ratio: p50 over the reference's, in turns with it, with the agent's interval at 99 %.
    load_1m: the host's load average when it was timed. cost_s: of all its passes, shared ones included.
    """

    point: dict[str, Any]
    size_bytes: int
    accuracy_validation: float
    accuracy_dev: float | None
    latency_ratio: float
    latency_ratio_low: float
    latency_ratio_high: float
    macs: int
    n_parameters: int
    load_1m: float | None
    cost_s: float
    sha256: str

    def values(self) -> dict[Metric, Estimate]:
        """Return what a search is told of the row."""
        ratio = Estimate.of_interval(
            self.latency_ratio, self.latency_ratio_low, self.latency_ratio_high, confidence=0.99
        )
        return {
            "accuracy": Estimate(self.accuracy_validation),
            "size_bytes": Estimate(float(self.size_bytes)),
            "latency_p50_ratio": ratio,
        }


@dataclass(frozen=True)
class Table:
    """All rows of a space, by the key of what they carry out. baseline: the uncompressed file in the reference runtime."""

    space: SearchSpace
    baseline: GridRow
    rows: Mapping[str, GridRow]
    about: Mapping[str, Any]

    def row(self, point: Point) -> GridRow:
        """Return the row of a point; KeyError where it was not carried out."""
        return self.rows[plan_of(self.space, point).key]

    def write(self, path: Path) -> None:
        """Write the table, one row a line."""
        lines = [json.dumps(_cells(row)) for row in self.rows.values()]
        head = {
            "about": dict(self.about),
            "space": self.space.model_dump(mode="json"),
            "baseline": asdict(self.baseline),
            "columns": [*self.baseline.point, *_FIGURES],
        }
        text = json.dumps(head)[:-1] + ', "rows": [\n' + ",\n".join(lines) + "\n]}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text)
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the table of a file that ``write`` wrote."""
        document = json.loads(path.read_text())
        space = parse_space(document["space"])
        rows = [_row(document["columns"], cells) for cells in document["rows"]]
        return cls(
            space,
            GridRow(**document["baseline"]),
            {plan_of(space, row.point).key: row for row in rows},
            document["about"],
        )


_FIGURES = tuple(field.name for field in fields(GridRow) if field.name != "point")


def _cells(row: GridRow) -> list[Any]:
    return [*row.point.values(), *(_short(getattr(row, name)) for name in _FIGURES)]


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _row(columns: Sequence[str], cells: Sequence[Any]) -> GridRow:
    named = dict(zip(columns, cells, strict=True))
    point = {name: value for name, value in named.items() if name not in _FIGURES}
    return GridRow(point=point, **{name: named[name] for name in _FIGURES})
