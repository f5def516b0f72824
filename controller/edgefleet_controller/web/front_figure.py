"""Lays out the front of one device as a drawing; pure geometry, the template writes the SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgefleet_controller.results.schemas import Front, FrontPoint

WIDTH, HEIGHT = 720.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 72.0, 150.0, 16.0, 52.0
LABEL_GAP = 14.0
MAX_NAMES = 20
"""With more points than this only those on the front are named; all have a tooltip and a row in the table."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, in drawing units."""

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """A point, in drawing units, with its name beside it."""

    x: float
    y: float
    label_y: float
    name: str
    text: str
    on_front: bool


@dataclass(frozen=True)
class FrontFigure:
    """All that the template draws."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    front_path: str
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True)
class Scale:
    """Maps a figure's range onto a range of drawing units."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def draw_front(front: Front, title: str) -> FrontFigure | None:
    """The drawing; None without points."""
    if not front.points:
        return None
    x_values, y_values = tick_values([p.x for p in front.points]), tick_values([p.y for p in front.points])
    x_scale = Scale(x_values[0], x_values[-1], LEFT, WIDTH - RIGHT)
    y_scale = Scale(y_values[0], y_values[-1], HEIGHT - BOTTOM, TOP)
    placed = [(x_scale.place(p.x), y_scale.place(p.y), p) for p in front.points]
    return FrontFigure(
        title=title,
        x_label=front.x.label,
        y_label=front.y.label,
        x_ticks=tuple(Tick(x_scale.place(value), f"{value:g}") for value in x_values),
        y_ticks=tuple(Tick(y_scale.place(value), f"{value:g}") for value in y_values),
        marks=tuple(sorted(_marks(placed), key=lambda mark: mark.on_front)),  # those on the front are drawn on top
        front_path=_staircase([(x, y) for x, y, point in placed if point.on_front]),
    )


def tick_values(values: Sequence[float], n_wanted: int = 5) -> list[float]:
    """Round numbers that span the values: steps of 1, 2 or 5 times a power of ten, about ``n_wanted`` of them."""
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0
    rough = span / n_wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _staircase(corners: Sequence[tuple[float, float]]) -> str:
    """The border of what the front reaches: level until the next point, then up; between points nothing was measured."""
    path = list(corners[:1])
    for (_, y), (next_x, next_y) in pairwise(corners):
        path += [(next_x, y), (next_x, next_y)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in path)


def _marks(placed: Sequence[tuple[float, float, FrontPoint]]) -> list[Mark]:
    """Points with labels pushed down where they would overlap."""
    marks: list[Mark] = []
    lowest = -math.inf
    for x, y, point in sorted(placed, key=lambda item: item[1]):
        is_named = point.on_front or len(placed) <= MAX_NAMES
        label_y = max(y, lowest + LABEL_GAP) if is_named else y
        lowest = label_y if is_named else lowest
        text = f"{point.name}: {point.x:.4g}, {point.y:.4g}"
        marks.append(Mark(x, y, label_y, point.name if is_named else "", text, point.on_front))
    return marks
