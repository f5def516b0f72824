import json

import numpy as np
import pytest

from edgefleet_deploy.errors import ParityFailed
from edgefleet_deploy.manifest import ParityReport, ParityTolerance
from edgefleet_deploy.parity import FP32_TOLERANCE, INT8_TOLERANCE, check_parity, compare_output


def check(reference: object, artifact: object, tolerance: ParityTolerance = FP32_TOLERANCE) -> ParityReport:
    return check_parity(
        {"y": np.asarray(reference, np.float32)},
        {"y": np.asarray(artifact, np.float32)},
        tolerance=tolerance,
        reference_name="torch",
        samples="random",
    )


def test_a_tenth_of_the_signal_is_20_db() -> None:
    figures = compare_output("y", np.array([[3.0, 4.0]]), np.array([[3.3, 4.4]]))

    assert figures.snr_db == pytest.approx(20.0)


def test_differences_are_stated_against_the_range_of_the_reference() -> None:
    figures = compare_output("y", np.array([[-1.0, 4.0]]), np.array([[-1.0, 4.1]]))

    assert figures.output_range == 5.0
    assert figures.max_abs_diff == pytest.approx(0.1)
    assert figures.max_diff_ratio == pytest.approx(0.02)
    assert figures.max_diff_steps == pytest.approx(0.02 * 255)


def test_equal_outputs_have_no_snr_and_pass() -> None:
    report = check([[1.0, 2.0]], [[1.0, 2.0]])

    assert report.outputs[0].snr_db is None
    assert report.outputs[0].max_abs_diff == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["candidate", "artifact"])
def test_non_finite_output_fails_whatever_the_tolerance(bad: float, side: str) -> None:
    good, broken = [[1.0, 2.0]], [[1.0, bad]]

    with pytest.raises(ParityFailed) as caught:
        check(*(broken, good) if side == "candidate" else (good, broken), INT8_TOLERANCE)

    assert caught.value.code == "parity_failed"
    assert caught.value.detail["where"] == side
    assert caught.value.detail["n_non_finite"] == 1


def test_difference_above_the_bound_fails_with_figures_that_are_json() -> None:
    with pytest.raises(ParityFailed) as caught:
        check([[0.0, 1.0]], [[0.0, 1.001]])

    figures = json.loads(json.dumps(caught.value.detail))
    assert figures["outputs"][0]["max_diff_ratio"] == pytest.approx(1e-3, rel=1e-3)


def test_wrong_classes_fail_an_int8_file() -> None:
    reference = np.eye(10)[np.arange(50) % 10]
    shifted = np.roll(reference, 1, axis=1)

    with pytest.raises(ParityFailed) as caught:
        check(reference, shifted, INT8_TOLERANCE)

    assert "top1_agreement_clear" in caught.value.message


def test_a_tie_counts_in_the_agreement_but_not_among_the_clear_samples() -> None:
    figures = compare_output("y", np.array([[0.0, 1.0], [0.500, 0.501]]), np.array([[0.0, 1.0], [0.501, 0.500]]))

    assert figures.top1_agreement == 0.5
    assert (figures.top1_agreement_clear, figures.n_clear) == (1.0, 1)


def test_other_shapes_or_names_are_a_failure() -> None:
    with pytest.raises(ParityFailed):
        check([[1.0, 2.0]], [[1.0]])


def test_silent_reference_with_noise_fails() -> None:
    with pytest.raises(ParityFailed):
        check([[0.0, 0.0]], [[0.0, 1e-3]])
