"""The plots of a study's page: accuracy over ratio with intervals, and fitted laws, as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

WIDTH: Final = 720.0
HEIGHT: Final = 380.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 24.0, 16.0, 50.0
RADIUS: Final = 4.5
N_TICKS: Final = 5


@dataclass(frozen=True)
class Mark:
    """One point with the interval of its y, where it has one. kind: class in the style sheet."""

    name: str
    x: float
    y: float
    interval: tuple[float, float] | None = None
    kind: str = "main"


def draw_marks(
    marks: Sequence[Mark], *, x_label: str, y_label: str, curve: Sequence[tuple[float, float]] = (), log_x: bool = False
) -> str:
    """Points over two axes, with a curve where there is one; empty without points."""
    if not marks:
        return ""
    place = math.log10 if log_x else float
    x_range = _range([place(mark.x) for mark in marks])
    ends = [end for mark in marks for end in (mark.interval or (mark.y, mark.y))] + [y for _, y in curve]
    y_range = _range([end for end in ends if math.isfinite(end)])
    svg = ElementTree.Element(
        "svg", {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img", "aria-label": f"{y_label} over {x_label}"}
    )

    def at(x: float, y: float) -> tuple[float, float]:
        across = (place(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    _draw_axes(svg, x_range, y_range, x_label, y_label, log_x=log_x)
    if curve:
        points = [at(x, y) for x, y in curve]
        ElementTree.SubElement(
            svg, "path", {"class": "law", "d": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)}
        )
    for mark in marks:
        x, y = at(mark.x, mark.y)
        if mark.interval is not None:
            low, high = (at(mark.x, end)[1] for end in mark.interval)
            ElementTree.SubElement(svg, "path", {"class": "interval", "d": f"M{x:.1f} {low:.1f}V{high:.1f}"})
        circle = ElementTree.SubElement(
            svg, "circle", {"class": mark.kind, "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{RADIUS:g}"}
        )
        ElementTree.SubElement(circle, "title").text = f"{mark.name}: {mark.x:.4g}, {mark.y:.4g}"
    return ElementTree.tostring(svg, encoding="unicode")


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _draw_axes(
    svg: ElementTree.Element,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_label: str,
    y_label: str,
    *,
    log_x: bool,
) -> None:
    for index in range(N_TICKS):
        share = index / (N_TICKS - 1)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        x_value = x_range[0] + share * (x_range[1] - x_range[0])
        y_value = y_range[0] + share * (y_range[1] - y_range[0])
        ElementTree.SubElement(svg, "path", {"class": "grid", "d": f"M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}"})
        _text(svg, x, HEIGHT - BOTTOM + 18, f"{10**x_value if log_x else x_value:.3g}", "middle")
        _text(svg, LEFT - 8, y, f"{y_value:.3g}", "end")
    _text(svg, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label, "middle")
    label = _text(svg, 14, (TOP + HEIGHT - BOTTOM) / 2, y_label, "middle")
    label.set("transform", f"rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2:.1f})")


def _text(svg: ElementTree.Element, x: float, y: float, text: str, anchor: str) -> ElementTree.Element:
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "dominant-baseline": "middle"}
    element = ElementTree.SubElement(svg, "text", attributes)
    element.text = text
    return element
