"""Changes in series: how often one is claimed where there is none, how soon a real one is found."""

import numpy as np
import pytest

from edgefleet_controller.regressions.change import FALSE_POSITIVE_RATE, LEAST_N, LONGEST_N, N_FIGURES, find_change

N_HISTORIES = 500


def unchanged(rng: np.random.Generator, kind: str, n: int) -> list[float]:
    """10 ms with noise of about 2 %: normal, or with tails so heavy that every normal test would fail."""
    noise = {
        "normal": lambda: rng.normal(0, 0.02, n),
        "heavy tails": lambda: 0.02 * rng.standard_t(2, n),
        "one-sided spikes": lambda: rng.exponential(0.05, n) * (rng.random(n) < 0.2),
    }[kind]()
    return list(10.0 * np.exp(noise))


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "one-sided spikes"])
def test_an_artifact_that_did_not_change_is_called_changed_as_rarely_as_stated(kind: str) -> None:
    """The stated rate is 1 % over two figures; 500 histories of one figure give 0.5 % with a standard error of 0.3 %."""
    rng = np.random.default_rng(7)
    rate = FALSE_POSITIVE_RATE / N_FIGURES
    found = sum(find_change(unchanged(rng, kind, 20), seed=seed) is not None for seed in range(N_HISTORIES))
    assert found <= N_HISTORIES * rate + 3 * np.sqrt(N_HISTORIES * rate * (1 - rate))


def test_ten_percent_slower_is_found_with_the_fourth_measurement_after_it() -> None:
    rng = np.random.default_rng(8)
    found = 0
    for seed in range(100):
        values = unchanged(rng, "normal", 19)
        values[15:] = [value * 1.10 for value in values[15:]]
        change = find_change(values, seed=seed)
        found += change is not None and abs(change.at - 15) <= 1 and change.ratio == pytest.approx(1.10, abs=0.05)
    assert found >= 90


def test_change_is_told_with_its_place_and_means() -> None:
    values = [10.0, 10.1] * 6 + [20.0, 20.2] * 3
    change = find_change(values, seed=1)
    assert change is not None
    assert change.at == 12
    assert change.before == pytest.approx(np.sqrt(10.0 * 10.1))
    assert change.ratio == pytest.approx(2.0, rel=1e-3)
    assert change.p_value <= FALSE_POSITIVE_RATE / N_FIGURES


@pytest.mark.parametrize(
    "values",
    [
        [],
        [10.0] * 40,
        [10.0] * (LEAST_N - 3) + [99.0, 99.0],  # too few to tell
        [10.0, 10.01] * 10 + [30.0],  # an outlier is no change
        [10.0 + 0.001 * (index % 3) for index in range(20)] + [10.02 + 0.001 * (index % 3) for index in range(20)],
    ],
)
def test_no_change_where_there_is_none_worth_telling(values: list[float]) -> None:
    assert find_change(values, seed=1) is None


def test_old_measurements_are_forgotten_and_places_still_count_from_the_first() -> None:
    change = find_change([10.0, 10.1] * 100 + [20.0, 20.1, 20.2], seed=1)
    assert change is not None
    assert change.at == 200
    assert LONGEST_N < 200


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_figure_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        find_change([1.0] * 20 + [wrong], seed=1)
