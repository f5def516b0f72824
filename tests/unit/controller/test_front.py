"""The Pareto front against hand-worked cases and a brute-force definition."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edgefleet_compression.search.estimates import Estimate
from edgefleet_controller.results.front import Direction, find_front, find_probable_front

MIN, MAX = Direction.MINIMISE, Direction.MAXIMISE
rows = st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), max_size=12)


def front_of(rows: Sequence[tuple[float, ...]], directions: Sequence[Direction]) -> list[bool]:
    """The front of rows that may all be relied on."""
    return find_front(rows, directions, [True] * len(rows))


def test_a_slower_and_less_accurate_row_is_not_on_the_front() -> None:
    # latency is minimised, accuracy maximised: (1, .9) beats (2, .8); (3, .95) is slower but more accurate
    assert front_of([(1.0, 0.9), (2.0, 0.8), (3.0, 0.95)], [MIN, MAX]) == [True, False, True]


def test_a_row_that_is_equal_in_one_figure_and_worse_in_the_other_is_not_on_the_front() -> None:
    assert front_of([(1.0, 0.9), (1.0, 0.8)], [MIN, MAX]) == [True, False]


def test_equal_rows_are_both_on_the_front() -> None:
    assert front_of([(1.0, 0.9), (1.0, 0.9)], [MIN, MAX]) == [True, True]


def test_no_rows_have_no_front() -> None:
    assert front_of([], [MIN, MIN]) == []


@given(rows)
def test_no_row_on_the_front_is_dominated_and_every_other_is(points: list[tuple[float, float]]) -> None:
    flags = front_of(points, [MIN, MIN])
    for (x, y), flag in zip(points, flags, strict=True):
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
        assert flag is not beaten


@given(rows)
def test_the_order_of_rows_makes_no_difference(points: list[tuple[float, float]]) -> None:
    front = {p for p, flag in zip(points, front_of(points, [MIN, MAX]), strict=True) if flag}
    for turned in itertools.islice(itertools.permutations(points), 3):
        assert {p for p, flag in zip(turned, front_of(turned, [MIN, MAX]), strict=True) if flag} == front


def test_an_unreliable_row_pushes_no_reliable_one_off_the_front_and_may_be_pushed_off_itself() -> None:
    rows = [(1.00, 0.9), (1.01, 0.9), (2.0, 0.9)]
    assert find_front(rows, [MIN, MAX], [False, True, False]) == [True, True, False]


def test_a_difference_inside_the_errors_pushes_no_row_off() -> None:
    # 99.6 and 98.9 % of 269 samples differ by 0.7 points at a standard error of 0.75: probably, not surely, better
    rows = [(Estimate(1.0, 0.01), Estimate(0.996, 0.004)), (Estimate(2.0, 0.01), Estimate(0.989, 0.0064))]
    assert find_probable_front(rows, [MIN, MAX], [True, True], confidence=0.95) == [True, True]
    assert find_probable_front(rows, [MIN, MAX], [True, True], confidence=0.8) == [True, False]
    assert find_front([(x.value, y.value) for x, y in rows], [MIN, MAX], [True, True]) == [True, False]


def test_an_unreliable_row_pushes_no_reliable_one_off_whatever_its_errors() -> None:
    rows = [(Estimate(1.0), Estimate(0.9)), (Estimate(2.0), Estimate(0.9))]
    assert find_probable_front(rows, [MIN, MAX], [False, True], confidence=0.95) == [True, True]
    assert find_probable_front(rows, [MIN, MAX], [True, False], confidence=0.95) == [True, False]
