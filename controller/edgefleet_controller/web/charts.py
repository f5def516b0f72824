"""What a chart shows, independent of how it is drawn: the script draws it, the table below it says the same in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

AxisKind = Literal["value", "log", "time", "category", "share"]
SeriesKind = Literal["scatter", "line", "steps", "bar", "histogram"]
Tone = Literal["calm", "good", "warn", "accent", "bad"]
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """An axis. label: with its unit. categories: of kind category, in order."""

    label: str
    kind: AxisKind = "value"
    categories: Sequence[str] | None = None
    from_zero: bool = False
    low: float | None = None
    high: float | None = None

    def document(self) -> JsonObject:
        """As the script reads it."""
        found = {
            "label": self.label,
            "kind": self.kind,
            "categories": self.categories,
            "min": self.low,
            "max": self.high,
        }
        return {"fromZero": self.from_zero, **{name: value for name, value in found.items() if value is not None}}


@dataclass(frozen=True)
class Point:
    """A point with what is known of its error: an interval in either direction. strong: on the front."""

    x: float | str
    y: float | None
    label: str = ""
    note: str = ""
    href: str = ""
    y_interval: tuple[float, float] | None = None
    x_interval: tuple[float, float] | None = None
    is_strong: bool = False
    is_hatched: bool = False

    def document(self) -> JsonObject:
        """As the script reads it: what is not known is left out."""
        found: JsonObject = {"x": self.x, "y": self.y}
        texts = {"label": self.label, "note": self.note, "href": self.href}
        found |= {name: text for name, text in texts.items() if text}
        if self.y_interval is not None:
            found |= {"low": self.y_interval[0], "high": self.y_interval[1]}
        if self.x_interval is not None:
            found |= {"xLow": self.x_interval[0], "xHigh": self.x_interval[1]}
        flags = {"strong": self.is_strong, "hatched": self.is_hatched}
        return found | {name: True for name, is_set in flags.items() if is_set}


@dataclass(frozen=True)
class Series:
    """Points that belong together. axis: 1 for the y axis at the right."""

    name: str
    kind: SeriesKind
    points: Sequence[Point]
    axis: int = 0

    def document(self) -> JsonObject:
        """As the script reads it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "axis": self.axis,
            "points": [point.document() for point in self.points],
        }


@dataclass(frozen=True)
class Band:
    """A stretch of the x axis."""

    start: float
    end: float
    label: str
    tone: Tone = "calm"


@dataclass(frozen=True)
class Mark:
    """A line across the chart, at a place of the x axis, or of the y axis."""

    at: float | str
    label: str
    along: Literal["x", "y"] = "x"
    tone: Tone = "calm"


def _exported(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@dataclass(frozen=True)
class Table:
    """The same figures in words: what a screen reader, a spreadsheet and a person without scripts get."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Chart:
    """A chart. is_flat: bars lie, with their names at the left. nothing: what to say without any point."""

    x: Axis
    y: Axis
    series: Sequence[Series]
    table: Table
    y2: Axis | None = None
    bands: Sequence[Band] = ()
    marks: Sequence[Mark] = ()
    is_flat: bool = False
    nothing: str = "Nothing to draw yet"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> JsonObject:
        """As the script reads it."""
        bands = [{"from": band.start, "to": band.end, "label": band.label, "tone": band.tone} for band in self.bands]
        marks = [{"at": mark.at, "label": mark.label, "along": mark.along, "tone": mark.tone} for mark in self.marks]
        found = {
            "x": self.x.document(),
            "y": self.y.document(),
            "series": [series.document() for series in self.series],
            "bands": bands,
            "marks": marks,
            "flat": self.is_flat,
            "nothing": self.nothing,
            "table": {
                "columns": list(self.table.columns),
                "rows": [list(map(_exported, row)) for row in self.table.rows],
            },
        }
        return found | ({"y2": self.y2.document()} if self.y2 is not None else {}) | dict(self.extra)
