"""What pages are computed from: fronts by intervals, ratios, events of live pages, thinned series, safe ways back."""

import numpy as np
import pytest

from edgefleet_agent.wire.samples import encode_samples
from edgefleet_compression.search.estimates import Estimate, ratio_of
from edgefleet_controller.devices.conditions import read_conditions
from edgefleet_controller.jobs.training import figures_of
from edgefleet_controller.results.run_record import RawSamples
from edgefleet_controller.results.separated import dominates, find_separated_front
from edgefleet_controller.web.live import Part, View, changes, encode_event
from edgefleet_controller.web.rendering import local_path, sign_in_address
from edgefleet_controller.web.run_charts import latency_histogram, thin


def test_a_point_dominates_only_where_intervals_are_apart() -> None:
    same = (5.0, 5.0, 5.0)
    fast, overlapping, slow = [(1.0, 1.1, 1.2), same], [(1.1, 1.2, 1.4), same], [(2.0, 2.1, 2.2), same]
    assert dominates(fast, slow)
    assert not dominates(fast, overlapping)
    assert not dominates(slow, fast)


def test_a_point_that_is_worse_in_one_figure_dominates_nothing_there_though_the_intervals_overlap() -> None:
    fast_and_perhaps_worse, slow = [(1.0, 1.05, 1.1), (8.0, 9.0, 10.0)], [(2.0, 2.05, 2.1), (7.5, 8.5, 9.5)]
    assert not dominates(fast_and_perhaps_worse, slow)
    assert not dominates(slow, fast_and_perhaps_worse)


@pytest.mark.parametrize("n_figures", [1, 2, 3])
def test_the_front_is_that_of_brute_force_and_does_not_depend_on_the_order(n_figures: int) -> None:
    rng = np.random.default_rng(n_figures)
    # few values, so that many are equal, and intervals that touch
    values, halves = rng.integers(0, 9, (300, n_figures)), rng.integers(0, 3, (300, n_figures)) / 2
    points = [
        [(v - h, v, v + h) for v, h in zip(row, half, strict=True)] for row, half in zip(values, halves, strict=True)
    ]
    reliable = (rng.random(300) < 0.7).tolist()
    flags = find_separated_front(points, reliable)
    by = list(zip(points, reliable, strict=True))
    expected = [
        not any(dominates(other, own) for other, other_is in by if other is not own and (other_is or not own_is))
        for own, own_is in by
    ]
    assert flags == expected
    order = rng.permutation(300)
    again = find_separated_front([points[i] for i in order], [reliable[i] for i in order])
    assert again == [flags[i] for i in order]


def test_a_suspect_point_pushes_no_valid_one_off_the_front() -> None:
    better, worse = [(1.0, 1.0, 1.0)], [(2.0, 2.0, 2.0)]
    assert find_separated_front([better, worse], [False, True]) == [True, True]
    assert find_separated_front([better, worse], [True, False]) == [True, False]


def test_the_interval_of_a_ratio_follows_the_propagation_of_errors() -> None:
    ratio = ratio_of(Estimate(10.0, 0.2), Estimate(5.0, 0.05))
    # (0.2/10)^2 + (0.05/5)^2 = 5e-4 relative, 2 * sqrt(5e-4) absolute, times 1.96
    assert ratio.value == 2.0
    assert ratio.interval == pytest.approx((2 - 1.959964 * 2 * 5e-4**0.5, 2 + 1.959964 * 2 * 5e-4**0.5), rel=1e-6)


def test_a_stream_begins_with_nothing_where_the_page_shows_it_all() -> None:
    view = View({"row": Part("<tr>1</tr>")}, {"announce": "one"})
    assert list(changes(None, view, view.digest)) == []
    assert "".join(changes(None, view, "other")).startswith("event: parts\ndata: <tr>1</tr>\n")


def test_a_stream_sends_what_changed_and_no_more() -> None:
    before = View({"a": Part("1"), "b": Part("2")}, {"curves": "7"})
    after = View({"a": Part("1"), "b": Part("3")}, {"curves": "8"})
    assert list(changes(before, after, "")) == [encode_event("parts", "3"), encode_event("curves", "8")]


def test_a_part_is_compared_by_its_mark() -> None:
    assert list(changes(View({"a": Part("1 s ago", "x")}), View({"a": Part("2 s ago", "x")}), "")) == []


def test_no_line_of_data_can_end_an_event() -> None:
    assert encode_event("parts", "a\n\nevent: b") == "event: parts\ndata: a\ndata: \ndata: event: b\n\n"


def test_a_thinned_series_keeps_its_extremes() -> None:
    y = np.ones(100_000)
    y[41_234], y[77_777] = 9.0, -3.0
    x, kept = thin(np.arange(100_000), y, 500)
    assert len(x) <= 500
    assert (kept.max(), kept.min()) == (9.0, -3.0)


def test_the_histogram_counts_every_inference() -> None:
    latency_ns = np.arange(1, 1001, dtype=np.int64) * 1000
    assert encode_samples({"latency_ns": latency_ns.tolist()})
    chart = latency_histogram(RawSamples({}, {"latency_ns": latency_ns}), {"p50": 0.5})
    assert sum(row[1] for row in chart.table.rows) == 1000
    assert chart.marks[0].label == "p50 0.5"


def test_throttle_bits_say_what_happens_now_and_what_did_since_boot() -> None:
    # Raspberry Pi documentation of vcgencmd get_throttled: 0x50005 is under-voltage and throttling, both now and before
    found = read_conditions("run", None, {"throttled_bits": 0x50005, "temperatures_c": {"a": 40.0, "b": 61.5}})
    assert (found.now, found.since_boot, found.hottest_c) == (("under_voltage", "throttled"), (), 61.5)
    assert read_conditions("run", None, {"throttled_bits": 0x20000}).since_boot == ("frequency_capped",)
    assert read_conditions("run", None, {"under_voltage_alarm": True}).now == ("under_voltage",)


def test_only_events_of_trainings_are_drawn() -> None:
    assert figures_of({"detail": {"train_loss": 0.5, "sparsity": 0, "note": "x", "done": True}}) == {
        "train_loss": 0.5,
        "sparsity": 0.0,
    }
    assert figures_of({"detail": {"layer": 3}}) == {}
    assert figures_of({}) == {}


@pytest.mark.parametrize("wanted", ["//evil", "/\\evil", "http://evil", "", "javascript:x", "/a\nb"])
def test_nobody_is_led_elsewhere(wanted: str) -> None:
    assert local_path(wanted) == "/fleet"


def test_the_way_back_survives_the_sign_in() -> None:
    assert sign_in_address("/runs/x?a=1&b=2") == "/login?next=%2Fruns%2Fx%3Fa%3D1%26b%3D2"
