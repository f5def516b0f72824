import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgefleet_deploy.accuracy import evaluate, read_evaluation, write_predictions
from edgefleet_deploy.errors import DataUnusable
from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_session import fit_inputs, saturates_products
from edgefleet_deploy.samples import random_samples

Array = NDArray[Any]
SPECS = (TensorSpec(name="image", shape=("N", 3), dtype="float32"),)


class EchoFile:
    """A stand-in for a loaded artifact: its output is its input."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": inputs["image"]}


def test_three_of_four_right_is_75_percent() -> None:
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]

    accuracy, _ = evaluate(EchoFile(), SPECS, {"x": scores}, np.array([0, 1, 2, 0]))

    assert (accuracy.n, accuracy.n_correct, accuracy.value, accuracy.reason) == (4, 3, 0.75, None)


def test_without_labels_accuracy_is_null_with_the_reason() -> None:
    accuracy, _ = evaluate(EchoFile(), SPECS, {"x": np.zeros((2, 3), np.float32)}, None)

    assert (accuracy.value, accuracy.reason) == (None, "no_labels")


def test_nan_output_is_never_an_accuracy() -> None:
    accuracy, _ = evaluate(EchoFile(), SPECS, {"x": np.full((2, 3), np.nan, np.float32)}, np.array([0, 0]))

    assert (accuracy.value, accuracy.reason) == (None, "non_finite_output")


def test_evaluation_file_is_read_into_inputs_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=np.zeros((5, 3)), y=np.arange(5))

    inputs, labels = read_evaluation(tmp_path / "e.npz")

    assert list(inputs) == ["x"]
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 3, 4]


def test_objects_truncation_and_uneven_lengths_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.savez(tmp_path / "uneven.npz", x=np.zeros((5, 3)), y=np.arange(4))
    np.savez(tmp_path / "empty.npz", y=np.arange(4))
    whole = (tmp_path / "uneven.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])

    for name in ("objects", "uneven", "empty", "cut", "absent"):
        with pytest.raises(DataUnusable) as caught:
            read_evaluation(tmp_path / f"{name}.npz")
        assert caught.value.code == "evaluation_unreadable"


def test_uint8_images_are_scaled_to_one() -> None:
    fitted = fit_inputs(SPECS, {"x": np.array([[0, 51, 255]], np.uint8)})

    assert fitted["image"].dtype == np.float32
    assert np.allclose(fitted["image"], [[0.0, 0.2, 1.0]])


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"x": np.zeros((2, 4), np.float32)}, "data_shape_mismatch"),
        ({"x": np.zeros((2, 3, 1), np.float32)}, "data_shape_mismatch"),
        ({"a": np.zeros((2, 3)), "b": np.zeros((2, 3))}, "data_input_missing"),
        ({"x": np.zeros((2, 3), np.complex64)}, "data_type_mismatch"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, Array], code: str) -> None:
    with pytest.raises(DataUnusable) as caught:
        fit_inputs(SPECS, arrays)

    assert caught.value.code == code


def test_random_samples_are_seeded_and_integers_stay_small() -> None:
    specs = (*SPECS, TensorSpec(name="tokens", shape=("N", 7), dtype="int64"))

    one, same, other = (random_samples(specs, n_samples=6, seed=seed) for seed in (1, 1, 2))

    assert one.source == "random"
    assert np.array_equal(one.inputs["image"], same.inputs["image"])
    assert not np.array_equal(one.inputs["image"], other.inputs["image"])
    assert set(np.unique(one.inputs["tokens"])) <= {0, 1}
    assert one.inputs["tokens"].shape == (6, 7)


def test_only_x86_without_vnni_saturates() -> None:
    assert saturates_products("flags : avx2 avx512f", "x86_64")
    assert not saturates_products("flags : avx2 avx512_vnni", "x86_64")
    assert not saturates_products("flags : avx2 avx_vnni", "x86_64")
    assert not saturates_products("Features : asimd asimddp", "aarch64")


def test_classes_are_named_for_every_sample_with_or_without_labels() -> None:
    scores = np.array([[0.1, 2.0, 0.3], [5.0, 1.0, 2.0]], dtype=np.float32)
    _, named = evaluate(EchoFile(), SPECS, {"x": scores}, None)
    assert named is not None
    assert (named.predicted.tolist(), named.labels, named.n_classes) == ([1, 0], None, 3)


def test_metrics_and_what_a_device_is_scored_with_are_kept() -> None:
    """Classes 0 and 2 right, one 2 called 1: F1 of the classes 1, 0 and 2/3."""
    labels = np.array([0, 2, 2])
    accuracy, named = evaluate(EchoFile(), SPECS, {"x": np.eye(3, dtype=np.float32)[[0, 2, 1]]}, labels)
    assert accuracy.metrics is not None
    assert accuracy.metrics.top1 == accuracy.value == pytest.approx(2 / 3)
    assert accuracy.metrics.top5 is None
    assert accuracy.metrics.f1_macro == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert named is not None
    with np.load(io.BytesIO(write_predictions(named)), allow_pickle=False) as archive:
        assert {name: archive[name].tolist() for name in archive.files} == {
            "prediction": [0, 2, 1],
            "label": [0, 2, 2],
            "n_classes": 3,
        }


def test_no_class_is_named_from_nan() -> None:
    _, classes = evaluate(EchoFile(), SPECS, {"x": np.full((2, 3), np.nan, np.float32)}, np.array([0, 0]))
    assert classes is None
