"""Scatter, warm-up and heat of a simulated board, against the stated parameters."""

import math

import numpy as np
import pytest

from edgefleet_agent.simulate.board import Series, SimulatedBoard, Window
from edgefleet_agent.simulate.measuring import make_board
from edgefleet_agent.simulate.parameters import board_named
from edgefleet_agent.simulate.thermal import Heat

LONG = Window(seconds=100.0, min_samples=1, max_seconds=200.0)


@pytest.fixture
def board() -> SimulatedBoard:
    return make_board("raspberry-pi-4", seed=1, index=1)


def ratios(series: Series, latency_ms: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = series.latency_ns / (latency_ms * 1e6)
    return found


class TestScatter:
    def test_median_is_the_undisturbed_latency(self, board: SimulatedBoard) -> None:
        assert float(np.median(ratios(board.infer(5.0, LONG), 5.0))) == pytest.approx(1.0, rel=0.002)

    def test_body_scatters_by_1_percent(self, board: SimulatedBoard) -> None:
        body = np.sort(np.log(ratios(board.infer(5.0, LONG), 5.0)))
        low, high = (float(np.quantile(body, share)) for share in (0.1587, 0.8413 * 0.99))
        assert (high - low) / 2 == pytest.approx(0.01, rel=0.05)

    def test_1_percent_takes_about_twice_as_long(self, board: SimulatedBoard) -> None:
        found = ratios(board.infer(5.0, LONG), 5.0)
        tail = found[found > 1.5]
        assert len(tail) / len(found) == pytest.approx(0.01, abs=0.003)
        assert 1.6 < tail.min() < tail.max() < 2.4

    def test_first_inferences_are_slower(self, board: SimulatedBoard) -> None:
        cold = ratios(board.infer(5.0, LONG, is_warm=False), 5.0)
        assert float(np.median(cold[:3])) > 1.15
        assert float(np.median(cold[100:])) == pytest.approx(1.0, rel=0.005)

    def test_equal_seeds_give_equal_series_and_other_boards_others(self) -> None:
        first, again, other = (make_board("jetson-nano", 7, index).infer(3.0, LONG) for index in (1, 1, 2))
        assert np.array_equal(first.latency_ns, again.latency_ns)
        assert not np.array_equal(first.latency_ns[:10], other.latency_ns[:10])

    def test_inferences_follow_each_other(self, board: SimulatedBoard) -> None:
        series = board.infer(5.0, Window(1.0, 1, 2.0))
        assert np.array_equal(series.start_ns[1:], (series.start_ns + series.latency_ns)[:-1])
        assert board.clock.now_ns() == series.start_ns[-1] + series.latency_ns[-1]


class TestWindow:
    def test_series_ends_after_the_time_once_there_are_enough(self, board: SimulatedBoard) -> None:
        span_s = board.infer(5.0, Window(2.0, 10, 60.0)).latency_ns.sum() * 1e-9
        assert 2.0 <= span_s < 2.02

    def test_series_goes_on_until_there_are_enough(self, board: SimulatedBoard) -> None:
        assert len(board.infer(5.0, Window(0.1, 700, 60.0)).latency_ns) == 700

    def test_series_ends_at_the_limit_even_without_enough(self, board: SimulatedBoard) -> None:
        assert len(board.infer(800.0, Window(0.1, 700, 4.0)).latency_ns) <= 6


class TestHeat:
    def test_one_time_constant_covers_63_percent(self) -> None:
        parameters = board_named("raspberry-pi-4")
        heat = Heat(parameters, is_cooled=True)
        idle_c = heat.temperature_c
        heat.pass_time(6.0, parameters.thermal.time_constant_s.value)
        # 25 C + 6 C/W * 6 W = 61 C in the end
        assert (heat.temperature_c - idle_c) / (61.0 - idle_c) == pytest.approx(1 - math.exp(-1))

    def test_steps_do_not_matter(self) -> None:
        once, often = (Heat(board_named("raspberry-pi-5"), is_cooled=True) for _ in range(2))
        once.pass_time(9.0, 30.0)
        for _ in range(300):
            often.pass_time(9.0, 0.1)
        assert once.temperature_c == pytest.approx(often.temperature_c)

    def test_cooled_board_keeps_its_clock(self, board: SimulatedBoard) -> None:
        board.infer(5.0, Window(600.0, 1, 700.0))
        assert board.conditions().throttled_bits == 0
        assert board.conditions().frequencies_khz == [1_500_000]

    def test_bare_board_throttles_and_slows_down_by_the_clock_s_share(self) -> None:
        board = make_board("raspberry-pi-4", 1, 1, is_cooled=False)
        series = board.infer(5.0, Window(150.0, 1, 200.0))
        conditions = board.conditions()
        assert conditions.throttled_bits is not None
        assert conditions.throttled_bits & 1 << 18
        slow = ratios(series, 5.0)
        slow = slow[(slow > 1.3) & (slow < 1.65)]
        # 1500 MHz to 1000 MHz
        assert float(np.median(slow)) == pytest.approx(1.5, rel=0.005)
        assert len(slow) > 1000

    def test_throttling_stops_after_a_rest(self) -> None:
        board = make_board("raspberry-pi-4", 1, 1, is_cooled=False)
        board.infer(5.0, Window(150.0, 1, 200.0))
        board.rest(300.0)
        bits = board.conditions().throttled_bits
        # now cool, but it did throttle since it was started
        assert bits == 1 << 18
