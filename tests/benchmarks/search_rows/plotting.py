"""The course of every arm as a picture: share of the grid's volume by trial, median and quartiles over seeds."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import numpy as np
from tests.benchmarks.search_rows.searching import Course

WIDTH: Final = 720
HEIGHT: Final = 400
LEFT: Final = 60
RIGHT: Final = 180
TOP: Final = 20
BOTTOM: Final = 45
LOWEST: Final = 0.7
"""Share at the lower end of the axis: what ten trials of any arm exceed."""

COLOURS: Final = ("#0072b2", "#56b4e9", "#999999", "#e69f00", "#d55e00")
"""Told apart by people who see colours differently (Okabe, Ito 2008)."""


def draw(courses: Mapping[str, Sequence[Course]], n_trials: int, goal: float) -> str:
    """Return an SVG document. goal: a dashed line at this share."""
    parts = [_frame(n_trials, goal)]
    for place, (arm, own) in enumerate(courses.items()):
        shares = np.array([[course.shares[min(t, len(course.shares) - 1)] for t in range(n_trials)] for course in own])
        low, middle, high = np.quantile(shares, (0.25, 0.5, 0.75), axis=0)
        colour = COLOURS[place % len(COLOURS)]
        band = [*_points(high, n_trials), *reversed(_points(low, n_trials))]
        parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" fill-opacity="0.15"/>')
        line = " ".join(_points(middle, n_trials))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 18 + 20 * place
        label = f"{escape(arm.replace('_', ' '))} {middle[-1]:.3f}"
        parts.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="14" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 32}" y="{y - 3}">{label}</text>')
    style = "<style>text{font:12px sans-serif;fill:#333}</style><rect width='100%' height='100%' fill='#fff'/>"
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(parts)}</svg>\n'


def _points(shares: Sequence[float], n_trials: int) -> list[str]:
    return [f"{_x(trial + 1, n_trials):.1f},{_y(share):.1f}" for trial, share in enumerate(shares)]


def _x(trial: float, n_trials: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * trial / n_trials


def _y(share: float) -> float:
    inside = min(1.0, max(0.0, (share - LOWEST) / (1.0 - LOWEST)))
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * inside


def _frame(n_trials: int, goal: float) -> str:
    right = WIDTH - RIGHT
    lines = [f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{right}" fill="none" stroke="#333"/>']
    for share in np.arange(LOWEST, 1.001, 0.05):
        y = _y(float(share))
        lines.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.2f}</text>')
    for trial in range(0, n_trials + 1, 10):
        x = _x(trial, n_trials)
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{trial}</text>')
    lines.append(f'<path d="M{LEFT} {_y(goal):.1f}H{right}" stroke="#333" stroke-dasharray="5 4"/>')
    lines.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">trials</text>')
    lines.append(
        f'<text x="{LEFT}" y="{TOP - 6}">share of the grid\'s hypervolume, median and quartiles over seeds</text>'
    )
    return "".join(lines)
