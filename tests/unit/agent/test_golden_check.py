"""The maths of the golden check, and that both sides of the file agree."""

import numpy as np
import pytest

from edgefleet_agent.runner import golden
from edgefleet_deploy.golden import GOLDEN_TOLERANCE_DB


def test_tolerance_is_the_one_the_manifest_states() -> None:
    assert golden.TOLERANCE_DB == GOLDEN_TOLERANCE_DB


@pytest.mark.parametrize(
    ("host", "required"),
    [
        pytest.param(30.0, 24.0, id="int8: six below the host"),
        pytest.param(130.0, 50.0, id="float: no more than 50"),
        pytest.param(None, 50.0, id="exact host"),
        pytest.param(1.2, 0.0, id="useless file: no error larger than the signal"),
    ],
)
def test_required_snr(host: "float | None", required: float) -> None:
    assert golden.required_snr_db(host) == required


def test_half_precision_in_every_layer_is_enough_and_eight_bits_are_not() -> None:
    """What the bound of 50 dB rests on: a hundred roundings to 10 bits of mantissa pass, one to 8-bit integers fails."""
    rng = np.random.default_rng(0)
    signal = rng.uniform(-1, 1, 100_000)
    halves = signal.copy()
    for _ in range(100):
        factor = rng.uniform(0.5, 2.0)
        halves = (halves * factor).astype(np.float16).astype(np.float64) / factor
    steps = np.round(signal * 127.5) / 127.5
    assert golden.compare("y", signal, halves, None)["snr_db"] > golden.ENOUGH_DB
    assert golden.compare("y", signal, steps, None)["snr_db"] < golden.ENOUGH_DB


def test_an_error_in_one_clear_class_fails_though_the_snr_is_fine() -> None:
    """One entry of a thousand columns moved: 28 dB where 20 are needed, but the sample's class is another."""
    reference = np.zeros((8, 1000))
    reference[:, 0] = 10.0
    reference[:, 1:100] = 2.0
    found = reference.copy()
    found[0, 500] = 11.0
    row = golden.compare("y", reference, found, 12.0)
    assert row["snr_db"] > row["required_snr_db"]
    assert (row["n_clear"], row["n_clear_wrong"]) == (8, 1)


def test_a_tie_between_classes_may_fall_either_way() -> None:
    reference = np.array([[1.0, 1.0001, -3.0]] * 4)
    found = np.array([[1.0001, 1.0, -3.0]] * 4)
    row = golden.compare("y", reference, found, 40.0)
    assert (row["n_clear"], row["n_clear_wrong"]) == (0, 0)


def test_an_error_beside_a_silent_reference_is_below_any_bound() -> None:
    row = golden.compare("y", np.zeros((2, 1)), np.full((2, 1), 1e-9), None)
    assert row["snr_db"] == golden.SILENT_DB < row["required_snr_db"]
