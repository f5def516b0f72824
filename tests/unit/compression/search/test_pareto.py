"""Fronts with errors: against brute force, closed forms and published values."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefleet_compression.search.estimates import Estimate, probability_at_most
from edgefleet_compression.search.hypervolume import Box, attained
from edgefleet_compression.search.pareto import dominates, find_front, probability_of_dominance

figures = st.floats(-100, 100)
exact_points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)
uncertain = st.builds(Estimate, figures, st.floats(0, 10))
uncertain_points = st.lists(st.tuples(uncertain, uncertain), min_size=1, max_size=8)


def exactly(*values: float) -> tuple[Estimate, ...]:
    return tuple(Estimate(value) for value in values)


class TestProbabilities:
    def test_difference_of_one_point_96_standard_errors_is_known_at_97_5_percent(self) -> None:
        first, second = Estimate(0.0, 3.0), Estimate(1.959964 * 5.0, 4.0)
        assert probability_at_most(first, second) == pytest.approx(0.975, abs=1e-6)

    def test_equal_estimates_with_errors_are_even(self) -> None:
        assert probability_at_most(Estimate(1.0, 0.1), Estimate(1.0, 0.2)) == 0.5

    def test_exact_values_are_at_most_their_equals(self) -> None:
        assert probability_at_most(Estimate(2.0), Estimate(2.0)) == 1.0
        assert probability_at_most(Estimate(2.0), Estimate(1.0)) == 0.0

    def test_interval_gives_the_error_back(self) -> None:
        assert Estimate.of_interval(10.0, 8.04, 11.96).standard_error == pytest.approx(1.0, abs=1e-4)
        assert Estimate.of_interval(10.0, 7.424, 12.576, confidence=0.99).standard_error == pytest.approx(1.0, abs=1e-4)

    def test_agrees_with_drawing_from_both_normals(self) -> None:
        first = (Estimate(1.0, 0.5), Estimate(4.0, 1.0))
        second = (Estimate(1.4, 0.3), Estimate(4.5, 2.0))
        rng = np.random.default_rng(0)
        draws = [
            np.stack([rng.normal(item.value, item.standard_error, 200_000) for item in point])
            for point in (first, second)
        ]
        drawn = float(np.mean(np.all(draws[0] <= draws[1], axis=0)))
        assert probability_of_dominance(first, second) == pytest.approx(drawn, abs=0.005)

    @pytest.mark.parametrize("values", [(math.nan, 0.0), (math.inf, 0.0), (1.0, -0.1), (1.0, math.nan)])
    def test_figures_that_cannot_be_compared_are_refused(self, values: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="finite"):
            Estimate(*values)

    def test_interval_that_ends_before_it_begins_is_refused(self) -> None:
        with pytest.raises(ValueError, match="lower end"):
            Estimate.of_interval(1.0, 2.0, 0.0)

    def test_points_of_different_length_are_refused(self) -> None:
        with pytest.raises(ValueError, match="argument"):
            probability_of_dominance(exactly(1, 2), exactly(1, 2, 3))


class TestFronts:
    @given(exact_points)
    def test_exact_figures_give_the_front_of_brute_force(self, values: list[tuple[int, int, int]]) -> None:
        expected = [
            not any(
                all(a <= b for a, b in zip(other, own, strict=True)) and other != own
                for other in values
            )
            for own in values
        ]  # fmt: skip
        assert find_front([exactly(*value) for value in values]) == expected

    @given(uncertain_points, st.randoms())
    def test_front_is_never_empty_and_the_order_makes_no_difference(
        self, points: list[tuple[Estimate, Estimate]], random: object
    ) -> None:
        flags = find_front(points)
        assert any(flags)
        order = list(range(len(points)))
        random.shuffle(order)  # type: ignore[attr-defined]
        assert find_front([points[index] for index in order]) == [flags[index] for index in order]

    @given(uncertain_points)
    def test_points_that_no_estimate_beats_are_on_the_front(self, points: list[tuple[Estimate, Estimate]]) -> None:
        plain = find_front([exactly(*(item.value for item in point)) for point in points])
        with_errors = find_front(points)
        assert all(kept for kept, is_front in zip(with_errors, plain, strict=True) if is_front)

    def test_difference_inside_the_errors_pushes_nothing_off(self) -> None:
        faster, slower = (Estimate(1.0, 0.1), Estimate(0.10, 0.02)), (Estimate(1.1, 0.1), Estimate(0.11, 0.02))
        assert find_front([faster, slower]) == [True, True]

    def test_clear_difference_in_one_figure_and_equality_in_an_exact_one_pushes_off(self) -> None:
        assert find_front([(Estimate(1.0, 0.1), Estimate(500)), (Estimate(2.0, 0.1), Estimate(500))]) == [True, False]

    def test_confidence_decides(self) -> None:
        better, worse = (Estimate(0.0, 1.0), Estimate(1)), (Estimate(1.8, 1.0), Estimate(1))
        assert dominates(better, worse, confidence=0.85)
        assert not dominates(better, worse, confidence=0.95)

    @pytest.mark.parametrize("confidence", [0.5, 0.0, 1.1])
    def test_confidence_that_allows_cycles_is_refused(self, confidence: float) -> None:
        with pytest.raises(ValueError, match=r"above 0\.5"):
            find_front([exactly(1.0)], confidence=confidence)


def by_counting_cells(points: list[tuple[int, ...]], side: int) -> float:
    """Share of the unit cells of [0, side]^n that some point dominates; exact for points on the grid."""
    n_objectives = len(points[0])
    cells = itertools.product(range(side), repeat=n_objectives)
    hit = sum(any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points) for cell in cells)
    return float(hit / side**n_objectives)


class TestHypervolume:
    @pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
    def test_is_the_count_of_dominated_cells(self, n_objectives: int) -> None:
        rng = np.random.default_rng(n_objectives)
        box = Box((0.0,) * n_objectives, (6.0,) * n_objectives)
        for _ in range(20):
            points = [tuple(int(value) for value in row) for row in rng.integers(0, 7, (5, n_objectives))]
            assert box.share(points) == pytest.approx(by_counting_cells(points, 6), abs=1e-12)

    def test_of_two_overlapping_rectangles(self) -> None:
        """Two squares of 3 x 9 that overlap in 3 x 3, by hand."""
        box = Box((0.0, 0.0), (11.0, 11.0))
        assert box.share([(2.0, 8.0), (8.0, 2.0)]) * 121 == pytest.approx(27 + 27 - 9)

    def test_linear_front_tends_to_a_half(self) -> None:
        share = Box((0.0, 0.0), (1.0, 1.0)).share([(x, 1 - x) for x in np.linspace(0, 1, 1001)])
        assert share == pytest.approx(0.5, abs=0.001)

    def test_points_beyond_the_box_neither_add_nor_subtract(self) -> None:
        box = Box((0.0, 0.0), (2.0, 2.0))
        assert box.share([(1.0, 1.0), (3.0, 0.0)]) == 0.25
        assert box.share([(-5.0, 1.0)]) == 0.5

    def test_without_points_it_is_zero(self) -> None:
        assert Box((0.0,), (1.0,)).share([]) == 0.0

    def test_units_do_not_matter(self) -> None:
        points = [(0.2, 0.7), (0.5, 0.1)]
        large = Box((0.0, 0.0), (1e6, 1e-3)).share([(x * 1e6, y * 1e-3) for x, y in points])
        assert Box((0.0, 0.0), (1.0, 1.0)).share(points) == pytest.approx(large)

    @pytest.mark.parametrize("ends", [((0.0,), (0.0,)), ((1.0, 0.0), (0.0, 1.0)), ((), ()), ((0.0,) * 5, (1.0,) * 5)])
    def test_box_without_inside_or_of_too_many_objectives_is_refused(
        self, ends: tuple[tuple[float, ...], tuple[float, ...]]
    ) -> None:
        with pytest.raises(ValueError, match=r"objective"):
            Box(*ends)

    def test_point_that_is_no_number_is_refused(self) -> None:
        with pytest.raises(ValueError, match="finite"):
            Box((0.0, 0.0), (1.0, 1.0)).share([(math.nan, 0.0)])


class TestAttainment:
    def test_of_one_seed_is_its_front(self) -> None:
        assert attained([[(1.0, 3.0), (2.0, 2.0), (3.0, 3.0)]], share=0.5).tolist() == [[1.0, 3.0], [2.0, 2.0]]

    def test_all_seeds_attain_what_the_worst_does(self) -> None:
        fronts = [[(1.0, 1.0)], [(2.0, 2.0)], [(3.0, 3.0)]]
        assert attained(fronts, share=1.0).tolist() == [[3.0, 3.0]]
        assert attained(fronts, share=1 / 3).tolist() == [[1.0, 1.0]]

    def test_seed_without_points_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one point"):
            attained([[(1.0, 1.0)], []], share=0.5)
