"""The drawing's geometry."""

from itertools import pairwise

import pytest

from edgefleet_controller.results.schemas import Axis, Front, FrontPoint
from edgefleet_controller.web.formats import milliseconds, percent, size, times
from edgefleet_controller.web.front_figure import HEIGHT, WIDTH, Scale, draw_front, tick_values


def front(*points: tuple[float, float, bool]) -> Front:
    axis = Axis(name="x", direction="minimise", label="x")
    drawn = [
        FrontPoint(
            name=f"p{i}",
            variant_id="v",
            device_id="d",
            device_name="d",
            run_id="r",
            x=x,
            y=y,
            verdict="valid",
            on_front=on,
        )
        for i, (x, y, on) in enumerate(points)
    ]
    return Front(job="j", x=axis, y=axis, provenance="measured", confidence=None, points=drawn, left_out=[])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 10.0], [0, 2, 4, 6, 8, 10]),
        ([0.42, 1.05], [0.4, 0.6, 0.8, 1.0, 1.2]),
        ([0.97, 0.97], [0.8, 1.0]),
        ([0.0, 0.0], [0.0, 0.2]),
    ],
)
def test_ticks_are_round_and_span_the_values(values: list[float], ticks: list[float]) -> None:
    assert tick_values(values) == pytest.approx(ticks)


def test_a_scale_may_run_downwards() -> None:
    assert Scale(0, 10, 300, 100).place(2.5) == 250


def test_nothing_to_draw_gives_no_figure() -> None:
    assert draw_front(front(), "t") is None


def test_all_points_lie_inside_and_names_do_not_overlap() -> None:
    figure = draw_front(front(*((1 + i / 1000, 0.9, i == 0) for i in range(15))), "t")
    assert figure is not None
    assert all(0 <= mark.x <= WIDTH and 0 <= mark.y <= HEIGHT for mark in figure.marks)
    heights = sorted(mark.label_y for mark in figure.marks)
    assert min(b - a for a, b in pairwise(heights)) >= 14


def test_the_front_is_a_staircase() -> None:
    figure = draw_front(front((0, 0, True), (10, 10, True)), "t")
    assert figure is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, corner.split(",")) for corner in figure.front_path.split())
    assert (y1, x2) == (y0, x1)
    assert (x0 < x1, y2 < y1) == (True, True)


def test_many_points_are_named_only_on_the_front() -> None:
    figure = draw_front(front(*((i, i, i == 7) for i in range(40))), "t")
    assert figure is not None
    assert [mark.name for mark in figure.marks if mark.name] == ["p7"]


def test_figures_are_written_with_their_unit() -> None:
    assert [size(999), size(1000), size(81_600), size(2.5e9)] == ["999 B", "1 kB", "81.6 kB", "2.5 GB"]
    assert (percent(0.9788), milliseconds(1.04951), times(7.444)) == ("97.88 %", "1.05", "7.44\N{MULTIPLICATION SIGN}")
    assert {size(None), percent(None), milliseconds(None), times(None)} == {"\N{EN DASH}"}
