"""Plots as inline SVG, built as element trees: every text is escaped by the writer, and nothing is fetched.

Colours come from the page's style sheet, so that light and dark both work; what a colour says is said by shape or text too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

from edgefleet_controller.client import Front, Results
from edgefleet_controller.client.rows import Interval

WIDTH, HEIGHT = 720.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 76.0, 170.0, 16.0, 48.0
BAR_HEIGHT, BAR_GAP, NAME_WIDTH = 18.0, 8.0, 220.0
LABEL_GAP = 13.0


@dataclass(frozen=True)
class Bar:
    """A figure of one row. interval: where it has one."""

    name: str
    value: float
    interval: Interval | None
    text: str
    is_doubtful: bool


def draw_bars(bars: Sequence[Bar], title: str) -> str:
    """Horizontal bars from 0 with intervals as lines; empty without bars. Doubtful ones are hatched by their outline."""
    if not bars:
        return ""
    highest = max(max(bar.value, bar.interval[1] if bar.interval else bar.value) for bar in bars) or 1.0
    scale = (WIDTH - NAME_WIDTH - RIGHT / 2) / highest
    height = len(bars) * (BAR_HEIGHT + BAR_GAP) + BAR_GAP
    svg = _svg(WIDTH, height, title)
    for index, bar in enumerate(bars):
        y = BAR_GAP + index * (BAR_HEIGHT + BAR_GAP)
        middle = y + BAR_HEIGHT / 2
        _text(svg, NAME_WIDTH - 8, middle, _shortened(bar.name), anchor="end")
        kind = "bar doubtful" if bar.is_doubtful else "bar"
        shape = _add(svg, "rect", kind, x=NAME_WIDTH, y=y, width=max(bar.value * scale, 0.5), height=BAR_HEIGHT)
        _title(shape, f"{bar.name}: {bar.text}")
        end = bar.value
        if bar.interval is not None:
            low, high = (NAME_WIDTH + max(0.0, value) * scale for value in bar.interval)
            _add(svg, "path", "interval", d=f"M{low:.1f} {middle:.1f}H{high:.1f}")
            end = max(end, bar.interval[1])
        _text(svg, NAME_WIDTH + end * scale + 6, middle, bar.text)
    return _written(svg)


def draw_front(front: Front, results: Results) -> str:
    """Points with their intervals and the border of what the front reaches; empty without points."""
    if not front.points:
        return ""
    intervals = {row.run_id: (row.latency_p50_interval_ms, row.accuracy_interval) for row in results}
    spans = [intervals.get(point.run_id, (None, None)) for point in front.points]
    x_range = _range([point.x for point in front.points], [span[0] for span in spans])
    y_range = _range([point.y for point in front.points], [span[1] for span in spans])
    svg = _svg(WIDTH, HEIGHT, f"{front.y} against {front.x}")
    x_axis, y_axis = _Axis(x_range, LEFT, WIDTH - RIGHT), _Axis(y_range, HEIGHT - BOTTOM, TOP)
    _axes(svg, x_axis, y_axis, front)
    _add(svg, "path", "front", d=_staircase([(x_axis.at(p.x), y_axis.at(p.y)) for p in front.points if p.on_front]))
    lowest = -math.inf
    order = sorted(zip(front.points, spans, strict=True), key=lambda item: y_axis.at(item[0].y))
    for point, (x_span, y_span) in order:
        x, y = x_axis.at(point.x), y_axis.at(point.y)
        if x_span is not None:
            _add(svg, "path", "interval", d=f"M{x_axis.at(x_span[0]):.1f} {y:.1f}H{x_axis.at(x_span[1]):.1f}")
        if y_span is not None:
            _add(svg, "path", "interval", d=f"M{x:.1f} {y_axis.at(y_span[0]):.1f}V{y_axis.at(y_span[1]):.1f}")
        mark = _add(svg, "circle", "best" if point.on_front else "beaten", cx=x, cy=y, r=5)
        _title(mark, f"{point.variant}: {front.x} {point.x:.4g}, {front.y} {point.y:.4g}")
        lowest = max(y, lowest + LABEL_GAP)
        _text(svg, x + 9, lowest, _shortened(point.variant))
    return _written(svg)


@dataclass(frozen=True)
class _Axis:
    """Places values of a range between two ends of the drawing."""

    ticks: Sequence[float]
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def _range(values: Sequence[float], spans: Sequence[Interval | None]) -> list[float]:
    """Round ticks over values and intervals: steps of 1, 2 or 5 times a power of ten (Heckbert 1990, Graphics Gems)."""
    ends = [*values, *(end for span in spans if span is not None for end in span)]
    low, high = min(ends), max(ends)
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def _axes(svg: ElementTree.Element, x_axis: _Axis, y_axis: _Axis, front: Front) -> None:
    for tick in x_axis.ticks:
        _add(svg, "path", "grid", d=f"M{x_axis.at(tick):.1f} {TOP}V{HEIGHT - BOTTOM}")
        _text(svg, x_axis.at(tick), HEIGHT - BOTTOM + 14, f"{tick:g}", anchor="middle")
    for tick in y_axis.ticks:
        _add(svg, "path", "grid", d=f"M{LEFT} {y_axis.at(tick):.1f}H{WIDTH - RIGHT}")
        _text(svg, LEFT - 8, y_axis.at(tick), f"{tick:g}", anchor="end")
    _text(svg, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, front.document["x"]["label"], anchor="middle")
    label = _text(svg, 14, (TOP + HEIGHT - BOTTOM) / 2, front.document["y"]["label"], anchor="middle")
    label.set("transform", f"rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})")


def _staircase(corners: Sequence[tuple[float, float]]) -> str:
    """Level until the next point, then up: between points nothing was measured."""
    if not corners:
        return "M0 0"
    steps = [f"H{after[0]:.1f}V{after[1]:.1f}" for _, after in pairwise(corners)]
    return f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(steps)


def _svg(width: float, height: float, title: str) -> ElementTree.Element:
    svg = ElementTree.Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": title})
    _title(svg, title)
    return svg


def _add(parent: ElementTree.Element, tag: str, kind: str, **attributes: float | str) -> ElementTree.Element:
    given = {name: value if isinstance(value, str) else f"{value:.1f}" for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, {"class": kind, **given})


def _title(parent: ElementTree.Element, text: str) -> None:
    ElementTree.SubElement(parent, "title").text = text


def _text(parent: ElementTree.Element, x: float, y: float, text: str, *, anchor: str = "start") -> ElementTree.Element:
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "dominant-baseline": "middle"}
    element = ElementTree.SubElement(parent, "text", attributes)
    element.text = text
    return element


def _shortened(text: str, most: int = 30) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _written(svg: ElementTree.Element) -> str:
    """The element as text without the characters that no XML may hold (XML 1.0, 2.2), which names may."""
    for element in svg.iter():
        if element.text:
            element.text = "".join(letter if letter.isprintable() else "?" for letter in element.text)
    svg.set("aria-label", "".join(letter if letter.isprintable() else "?" for letter in svg.get("aria-label", "")))
    return ElementTree.tostring(svg, encoding="unicode")
