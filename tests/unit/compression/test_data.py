from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_compression.candidate import TorchCandidate, save_candidate
from edgefleet_compression.data import evaluation_set
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.data.splitting import split_seeded
from edgefleet_compression.errors import DataInvalid
from edgefleet_compression.testing import tiny_candidate, tiny_onnx, tiny_text_candidate

DIGITS = {"kind": "packaged", "name": "digits"}


def load(document: dict[str, Any], *, split_seed: int = 0) -> DataSet:
    data = load_data(document | {"split_seed": split_seed})
    assert data is not None
    return data


def npz(tmp_path: Path, **arrays: Any) -> dict[str, Any]:
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    return {"kind": "npz", "path": str(path)}


def code_of(document: dict[str, Any]) -> str:
    with pytest.raises(DataInvalid) as caught:
        load_data(document)
    return caught.value.code


def test_digits_are_1797_images_of_ten_classes_in_disjoint_splits() -> None:
    data = load(DIGITS)
    splits = (data.train, data.validation, data.test)
    assert sum(len(split) for split in splits) == 1797
    assert data.train.x.shape[1:] == (1, 8, 8)
    assert data.train.x.dtype == np.float32
    shares = [len(split) / 1797 for split in splits]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.005)
    rows = [{row.tobytes() for row in split.x} for split in splits]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    for split in splits:
        assert split.y is not None
        assert set(split.y.tolist()) == set(range(10))


def test_digits_are_normalised() -> None:
    x = load(DIGITS).train.x
    assert float(x.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(x.std()) == pytest.approx(1.0, abs=0.02)


def test_split_depends_on_the_split_seed_alone() -> None:
    assert load(DIGITS, split_seed=1).sha256() == load(DIGITS, split_seed=1).sha256()
    assert load(DIGITS, split_seed=1).sha256() != load(DIGITS, split_seed=2).sha256()


def test_own_arrays_are_cut_and_stratified(tmp_path: Path) -> None:
    y = np.repeat([0, 1], [180, 20])
    data = load(npz(tmp_path, x=np.arange(200, dtype=np.float32)[:, None], y=y))
    counts = [
        np.bincount(split.y).tolist() for split in (data.train, data.validation, data.test) if split.y is not None
    ]
    assert counts == [[126, 14], [27, 3], [27, 3]]


def test_explicit_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for size, split in zip((5, 3, 2), ("train", "validation", "test"), strict=True):
        arrays[f"x_{split}"] = np.ones((size, 4), np.float32)
        arrays[f"y_{split}"] = np.zeros(size, np.int32)
    data = load(npz(tmp_path, **arrays))
    assert (len(data.train), len(data.validation), len(data.test)) == (5, 3, 2)


def test_arrays_named_after_inputs_stay_apart(tmp_path: Path) -> None:
    data = load(npz(tmp_path, ids=np.ones((20, 3), np.int64), mask=np.ones((20, 3), np.int64)))
    assert sorted(data.train.inputs) == ["ids", "mask"]
    assert not data.has_labels
    with pytest.raises(DataInvalid) as caught:
        _ = data.train.x
    assert caught.value.code == "data_multiple_inputs"


@pytest.mark.parametrize(
    ("code", "arrays"),
    [
        ("data_empty", {"y": np.zeros(20, np.int64)}),
        ("data_empty", {"x": np.zeros((0, 3), np.float32)}),
        ("data_type_unsupported", {"x": np.array(["a"] * 20)}),
        ("data_not_finite", {"x": np.full((20, 2), np.nan, np.float32)}),
        ("labels_invalid", {"x": np.zeros((20, 2), np.float32), "y": np.zeros(20, np.float32)}),
        ("labels_invalid", {"x": np.zeros((20, 2), np.float32), "y": -np.ones(20, np.int64)}),
        ("data_length_mismatch", {"x": np.zeros((20, 2), np.float32), "y": np.zeros(19, np.int64)}),
        ("data_too_small", {"x": np.zeros((3, 2), np.float32)}),
        ("data_split_missing", {"x_train": np.zeros((20, 2), np.float32)}),
    ],
)
def test_bad_arrays_are_refused_with_their_code(tmp_path: Path, code: str, arrays: dict[str, Any]) -> None:
    assert code_of(npz(tmp_path, **arrays)) == code


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, x=np.array([{"a": 1}] * 20, dtype=object))
    assert code_of({"kind": "npz", "path": str(path)}) == "data_unreadable"


def test_unknown_missing_and_corrupt_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"not a zip")
    assert code_of({"kind": "packaged", "name": "imagenet"}) == "data_unknown"
    assert code_of({"kind": "web"}) == "data_spec_invalid"
    assert code_of({"kind": "npz", "path": str(tmp_path / "none.npz")}) == "data_missing"
    assert code_of({"kind": "npz", "path": str(tmp_path / "bad.npz")}) == "data_unreadable"


def test_evaluation_set_is_the_test_split(tmp_path: Path) -> None:
    result = evaluation_set.prepare(DIGITS, model=None, output_dir=tmp_path)
    data = load(DIGITS)
    with np.load(tmp_path / "evaluation.npz") as archive:
        assert np.array_equal(archive["x"], data.test.x)
        assert data.test.y is not None
        assert np.array_equal(archive["y"], data.test.y)
    assert result == {
        "evaluation": "evaluation.npz",
        "n_evaluation": len(data.test),
        "data_sha256": data.sha256(),
        "has_labels": True,
        "calibration_source": "train",
    }


def test_uint8_images_are_scaled_where_the_model_takes_floats(tmp_path: Path) -> None:
    model = tmp_path / "own.onnx"
    model.write_bytes(tiny_onnx().SerializeToString())
    document = npz(tmp_path, x=np.full((40, 1, 8, 8), 255, np.uint8))
    evaluation_set.prepare(document, model=model, output_dir=tmp_path)
    with np.load(tmp_path / "evaluation.npz") as archive:
        assert archive["x"].dtype == np.float32
        assert float(archive["x"].max()) == 1.0
        assert "y" not in archive.files


def test_data_that_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "own.onnx"
    model.write_bytes(tiny_onnx().SerializeToString())
    document = npz(tmp_path, x=np.zeros((40, 3, 8, 8), np.float32))
    with pytest.raises(DataInvalid) as caught:
        evaluation_set.prepare(document, model=model, output_dir=tmp_path)
    assert caught.value.code == "data_shape_mismatch"
    document = npz(tmp_path, left=np.zeros((40, 3), np.float32), right=np.zeros((40, 3), np.float32))
    with pytest.raises(DataInvalid) as caught:
        evaluation_set.prepare(document, model=model, output_dir=tmp_path)
    assert caught.value.code == "data_inputs_mismatch"


@pytest.mark.parametrize("labels", [np.arange(40) % 4 + 1, np.full(40, 100)], ids=["counted from 1", "far out"])
def test_labels_that_an_onnx_model_cannot_answer_are_refused(tmp_path: Path, labels: Any) -> None:
    model = tmp_path / "own.onnx"
    model.write_bytes(tiny_onnx().SerializeToString())  # its output is (batch, 4)
    document = npz(tmp_path, x=np.zeros((40, 1, 8, 8), np.float32), y=labels)
    with pytest.raises(DataInvalid) as caught:
        evaluation_set.prepare(document, model=model, output_dir=tmp_path)
    assert caught.value.code == "labels_out_of_range"


def test_every_split_has_to_fit_the_model(tmp_path: Path) -> None:
    model = tmp_path / "own.onnx"
    model.write_bytes(tiny_onnx().SerializeToString())
    fitting, cut = np.zeros((10, 1, 8, 8), np.float32), np.zeros((10, 1, 4, 8), np.float32)
    document = npz(tmp_path, x_train=fitting, x_validation=fitting, x_test=cut)
    with pytest.raises(DataInvalid) as caught:
        evaluation_set.prepare(document, model=model, output_dir=tmp_path)
    assert caught.value.code == "data_shape_mismatch"


def test_without_data_there_is_no_evaluation_set(tmp_path: Path) -> None:
    result = evaluation_set.prepare(None, model=None, output_dir=tmp_path)
    assert (result["evaluation"], result["calibration_source"]) == (None, "random")


def test_own_data_are_cut_the_same_way_whatever_the_job_does(tmp_path: Path) -> None:
    """Another cut would test a network on samples that it was trained on."""
    rng = np.random.default_rng(3)
    document = npz(tmp_path, x=rng.normal(size=(100, 4)).astype(np.float32), y=rng.integers(0, 2, 100))
    whole, again = load_data(document), load_data(document | {"split_seed": 0})
    assert whole is not None
    assert again is not None
    assert whole.sha256() == again.sha256()


KEYWORDS = {"kind": "generated", "name": "keywords", "n_samples": 400}


def test_keywords_are_told_apart_by_their_order_alone() -> None:
    """Recomputed from the definition; every sample has the same four keywords, so a bag of words knows nothing."""
    data = load(KEYWORDS)
    for split in (data.train, data.validation, data.test):
        assert split.y is not None
        for tokens, label in zip(split.x.tolist(), split.y.tolist(), strict=True):
            places = {word: tokens.index(word) for word in (1, 2, 3, 4)}
            assert label == (places[1] < places[2]) + 2 * (places[3] < places[4])
            assert [tokens.count(word) for word in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert data.train.x.dtype == np.int64
    assert data.train.x.shape[1:] == (16,)


def test_padding_of_keywords_stands_at_the_end() -> None:
    x = load(KEYWORDS).train.x
    lengths = (x != 0).sum(axis=1)
    assert set(lengths.tolist()) == {12, 13, 14, 15, 16}
    assert all(not row[length:].any() for row, length in zip(x, lengths, strict=True))


def test_samples_of_keywords_do_not_depend_on_the_cut() -> None:
    rows = [sorted(map(bytes, load(KEYWORDS, split_seed=seed).train.x)) for seed in (0, 1)]
    everything = [
        sorted(bytes(row) for split in (data.train, data.validation, data.test) for row in split.x)
        for data in (load(KEYWORDS, split_seed=0), load(KEYWORDS, split_seed=1))
    ]
    assert rows[0] != rows[1]
    assert everything[0] == everything[1]


def test_larger_digits_repeat_their_pixels() -> None:
    small, large = load(DIGITS), load(DIGITS | {"side": 16})
    assert large.train.x.shape[1:] == (1, 16, 16)
    assert np.array_equal(large.train.x[:, :, ::2, 1::2], small.train.x)


@pytest.mark.parametrize(
    "document",
    [
        DIGITS | {"side": 12},
        DIGITS | {"side": 0},
        KEYWORDS | {"name": "poems"},
        KEYWORDS | {"length": 4},
        KEYWORDS | {"vocabulary": 5},
        {"kind": "generated"},
    ],
)
def test_impossible_data_specification_is_refused(document: dict[str, Any]) -> None:
    assert code_of(document) == "data_spec_invalid"


def fitted(x: Any, candidate: TorchCandidate) -> DataSet:
    return fit_to(candidate.structure, split_seeded("own", {"x": x}, np.arange(len(x)) % 4, seed=0))


def test_any_integers_serve_as_token_ids_and_any_numbers_as_pixels() -> None:
    tokens = fitted(np.ones((20, 8), np.uint16), tiny_text_candidate()).train.x
    assert tokens.dtype == np.int64
    pixels = [fitted(np.ones((20, 1, 8, 8), kind), tiny_candidate()).train.x.dtype for kind in (np.int32, np.uint8)]
    assert pixels == [np.float32, np.uint8]


@pytest.mark.parametrize(
    ("code", "x"),
    [
        ("data_type_mismatch", np.ones((20, 8), np.float32)),
        ("token_out_of_range", np.full((20, 8), 16)),
        ("token_out_of_range", np.full((20, 8), -1)),
        ("data_shape_mismatch", np.ones((20, 9), np.int64)),
    ],
)
def test_samples_that_are_no_token_ids_of_the_model_are_refused(code: str, x: Any, tmp_path: Path) -> None:
    with pytest.raises(DataInvalid) as caught:
        fitted(x, tiny_text_candidate())
    assert caught.value.code == code
    model = save_candidate(tiny_text_candidate(), tmp_path / "text.safetensors")
    with pytest.raises(DataInvalid) as caught:
        evaluation_set.prepare(npz(tmp_path, x=x, y=np.arange(20) % 4), model=model, output_dir=tmp_path)
    assert caught.value.code == code


def test_evaluation_set_of_a_text_model_holds_its_token_ids(tmp_path: Path) -> None:
    model = save_candidate(tiny_text_candidate(), tmp_path / "text.safetensors")
    document = KEYWORDS | {"length": 8, "vocabulary": 16}
    evaluation_set.prepare(document, model=model, output_dir=tmp_path)
    with np.load(tmp_path / "evaluation.npz") as archive:
        assert archive["x"].dtype == np.int64
        assert np.array_equal(archive["x"], load(document).test.x)
