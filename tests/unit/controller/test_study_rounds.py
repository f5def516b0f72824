"""What several rounds of a deployment check say together."""

import pytest

from edgefleet_compression.search.estimates import Estimate
from edgefleet_controller.studies.rounds import Measured, combined, disagreements, of_kind, speedup, together


def measured(*latencies: float | None, error: float = 0.1) -> Measured:
    """A file whose rounds had these median latencies; None: a round that may not be relied on."""
    rounds = {n: {"latency_p50_ms": Estimate(value, error)} for n, value in enumerate(latencies) if value is not None}
    return Measured("dev_1", "pi-3", "measured", None, rounds=rounds)  # type: ignore[arg-type]


def test_the_error_of_rounds_that_lie_apart_is_how_far_they_do() -> None:
    assert combined([Estimate(9.0, 0.1), Estimate(11.0, 0.1)]) == Estimate(10.0, 1.0)


def test_the_error_of_rounds_that_agree_is_their_own() -> None:
    assert combined([Estimate(10.0, 0.3)] * 9).standard_error == pytest.approx(0.1)


def test_another_round_on_the_same_samples_adds_nothing() -> None:
    assert combined([Estimate(0.9, 0.02)] * 4, is_same=True) == Estimate(0.9, 0.02)


def test_a_ratio_is_formed_of_figures_of_the_same_round() -> None:
    """In the second round, which the baseline lacks, the board was twice as slow."""
    found = speedup(measured(10.0, None, 30.0), measured(5.0, 99.0, 15.0))
    assert found is not None
    assert found.value == pytest.approx(2.0)


def test_without_a_common_round_there_is_no_ratio() -> None:
    assert speedup(measured(10.0, None), measured(None, 5.0)) is None


def test_devices_of_a_kind_that_differ_are_named_and_widen_the_error() -> None:
    devices = {"pi-1": together(measured(10.0)), "pi-2": together(measured(20.0))}
    assert [(one["low"], one["high"], one["ratio"]) for one in disagreements(devices)] == [("pi-1", "pi-2", 2.0)]
    assert of_kind(devices)["latency_p50_ms"].standard_error > 1.0
    same = {"pi-1": together(measured(10.0)), "pi-2": together(measured(10.1))}
    assert disagreements(same) == []
