"""Laws recovered from points made by them; verdicts at their boundaries."""

import math

import pytest

from edgefleet_compression.studies.fits import fit_law, held_out_r_squared
from edgefleet_compression.studies.points import ratio_at
from edgefleet_compression.studies.verdicts import Verdict, judge, together


def test_power_law_is_recovered_and_foretells_others() -> None:
    fit = fit_law("power", [1.0, 10.0, 100.0], [3.0, 3.0 * 10**-0.8, 3.0 * 100**-0.8])
    assert fit.factor == pytest.approx(3.0)
    assert fit.exponent == pytest.approx(-0.8)
    assert held_out_r_squared(fit, [3.0, 0.4], [50.0], [3.0 * 50**-0.8]) == pytest.approx(1.0)


def test_exponential_law_is_recovered_and_has_the_lower_aic() -> None:
    x, y = [2.0, 4.0, 8.0, 16.0], [0.01 * math.exp(0.2 * value) for value in (2, 4, 8, 16)]
    fit = fit_law("exponential", x, y)
    assert fit.exponent == pytest.approx(0.2)
    assert fit.aic < fit_law("power", x, y).aic


def test_a_law_no_better_than_the_mean_has_r_squared_0_or_less() -> None:
    flat = fit_law("power", [1.0, 2.0, 4.0], [2.0, 2.0, 2.0])
    assert held_out_r_squared(flat, [2.0, 2.0, 2.0], [3.0], [5.0]) == pytest.approx(0.0)
    assert held_out_r_squared(flat, [2.0, 2.0], [3.0], [2.0]) == -math.inf


def test_fit_of_one_place_is_refused() -> None:
    with pytest.raises(ValueError, match="two places"):
        fit_law("power", [2.0, 2.0], [1.0, 3.0])


def test_reachable_ratio_is_interpolated_in_logarithms() -> None:
    """Half way between 1.00 at 2x and 0.90 at 4x: 2 * sqrt 2."""
    assert ratio_at([(2.0, 1.0), (4.0, 0.9)], 0.95) == pytest.approx(2 * math.sqrt(2))
    assert ratio_at([(2.0, 0.99), (4.0, 0.96)], 0.95) == 4.0
    assert ratio_at([(2.0, 0.5)], 0.95) == pytest.approx(2**0.1)


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [
        (5.0, 7.0, 6, "supported"),
        (4.999, 7.0, 6, "undecided"),
        (1.0, 2.999, 6, "falsified"),
        (1.0, 3.0, 6, "undecided"),
        (3.2, 4.8, 6, "undecided"),
        (9.0, 9.5, 5, "undecided"),
        (0.0, 0.1, 5, "undecided"),
    ],
)
def test_verdict_hangs_on_the_whole_interval_and_six_repetitions(
    low: float, high: float, n: int, verdict: Verdict
) -> None:
    assert judge(low, high, supported_from=5.0, falsified_below=3.0, n=n) == verdict


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["supported", "supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["undecided", "falsified"], "falsified"),
        ([], "undecided"),
    ],
)
def test_claims_have_to_hold_together(verdicts: "list[Verdict]", expected: str) -> None:
    assert together(verdicts) == expected
