"""What cannot work is refused before anything is trained, else stopped with the step's own error; finished passes are kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgefleet_compression.candidate import Candidate, TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.child import describe_error
from edgefleet_compression.context import no_progress
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.errors import CompressionError, DataInvalid, PassRefused, RecipeInvalid, ResourceExhausted
from edgefleet_compression.passes.application import run_recipe
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.recipe import Recipe, parse_recipe
from edgefleet_compression.requests import CompressRequest
from edgefleet_compression.tasks import compress, new_candidate
from edgefleet_compression.testing import tiny_candidate, tiny_text_candidate, tiny_text_data
from edgefleet_compression.training.stepping import Stepper

TRAIN: dict[str, Any] = {"kind": "train", "budget": {"steps": 2}}
PRUNE: dict[str, Any] = {"kind": "structured_prune", "amount": 0.5}
FOUR_BITS: dict[str, Any] = {"kind": "quantize", "weights": {"bits": 4}, "activations": None}
FAKE_QUANT: dict[str, Any] = {"kind": "fake_quant", "start_fraction": 0.0}


def recipe_of(*passes: dict[str, Any]) -> Recipe:
    return parse_recipe({"name": "t", "passes": list(passes)})


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_self: Stepper, _indices: object) -> float:
        raise AssertionError("a step was trained")

    monkeypatch.setattr(Stepper, "step", forbidden)


TOO_LATE: list[tuple[str, list[dict[str, Any]]]] = [
    ("nothing_to_prune", [{**PRUNE, "min_channels": 1024}]),
    ("nothing_to_prune", [PRUNE, TRAIN, {**PRUNE, "min_channels": 1024}]),
    ("too_many_blocks", [{"kind": "remove_blocks", "n_blocks": 2, "criterion": "loss"}]),
    ("ratio_unreachable", [{"kind": "low_rank", "parameters_ratio": 0.01}]),
    ("budget_impossible", [{**FOUR_BITS, "allocation": {"size_bytes": 10}}]),
    ("table_incomplete", [{**FOUR_BITS, "allocation": {"latency_ms": 1.0, "table": {"stem": {"8": 1.0}}}}]),
    ("student_task_mismatch", [{**TRAIN, "student": {"architecture": "convnet", "arguments": {"n_classes": 7}}}]),
]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("code", "passes"), TOO_LATE)
def test_a_pass_that_cannot_work_is_refused_before_the_training_in_front_of_it(
    code: str, passes: list[dict[str, Any]], candidate: TorchCandidate, data: DataSet
) -> None:
    in_front = [] if "student" in passes[0] or len(passes) > 1 else [TRAIN]
    with pytest.raises(PassRefused) as caught:
        run_recipe(recipe_of(*in_front, *passes), candidate, data=data, seed=0)
    assert caught.value.code == code


def test_nothing_is_refused_beforehand_that_would_have_worked(candidate: TorchCandidate, data: DataSet) -> None:
    passes = [
        TRAIN,
        {"kind": "remove_blocks", "n_blocks": 1},
        {**PRUNE, "amount": 0.25, "criterion": "taylor"},
        {"kind": "low_rank", "energy": 0.5},
        {**TRAIN, "ingredients": [FAKE_QUANT]},
    ]
    outcome = run_recipe(recipe_of(*passes), candidate, data=data, seed=0)
    assert [record.spec.kind for record in outcome.records] == [spec["kind"] for spec in passes]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("kind", ["none", "unlabelled"])
def test_training_without_labels_is_refused_before_the_passes_in_front_of_it(
    kind: str, candidate: TorchCandidate, data: DataSet
) -> None:
    splits = (data.train, data.validation, data.test)
    given = None if kind == "none" else DataSet("unlabelled", *(Split(split.inputs, None) for split in splits))
    seen: list[int] = []
    with pytest.raises(DataInvalid) as caught:
        run_recipe(
            recipe_of({"kind": "low_rank", "energy": 0.5}, TRAIN),
            candidate,
            data=given,
            seed=0,
            keep_partial=lambda failure, _: seen.append(failure.detail["pass"]),
        )
    assert caught.value.code == ("data_missing" if kind == "none" else "labels_missing")
    assert seen == []


def odd(data: DataSet, change: str) -> DataSet:
    x, y = data.train.x, data.train.y
    assert y is not None
    changed = {
        "shape": lambda: Split({"x": x[:, :, :4]}, y),
        "labels": lambda: Split({"x": x}, y + 4),
        "floats": lambda: Split({"x": x.astype(np.float32)}, y),
    }
    return DataSet("odd", changed[change](), data.validation, data.test)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("change", "code", "facts"),
    [
        ("shape", "data_shape_mismatch", ["[1, 8, 8]", "[1, 4, 8]"]),
        ("labels", "labels_out_of_range", ["4 classes", "7"]),
    ],
)
def test_data_that_do_not_fit_are_refused_with_both_sides_of_the_difference(
    change: str, code: str, facts: Sequence[str], candidate: TorchCandidate, data: DataSet
) -> None:
    with pytest.raises(DataInvalid) as caught:
        run_recipe(recipe_of(TRAIN), candidate, data=odd(data, change), seed=0)
    assert caught.value.code == code
    assert all(fact in caught.value.message for fact in facts)


@pytest.mark.usefixtures("no_training")
def test_pictures_for_a_network_of_words_are_refused() -> None:
    with pytest.raises(DataInvalid) as caught:
        run_recipe(recipe_of(TRAIN), tiny_text_candidate(), data=odd(tiny_text_data(), "floats"), seed=0)
    assert caught.value.code == "data_type_mismatch"


@pytest.mark.usefixtures("no_training")
def test_unsupported_layer_is_refused_before_training() -> None:
    """A network without BatchNorm has nothing that images could be made from."""
    data = tiny_text_data()
    candidate = new_candidate("transformer", {"width": 8, "n_heads": 2, "n_layers": 1, "feed_forward": 8}, data, seed=0)
    with pytest.raises(PassRefused) as caught:
        run_recipe(recipe_of(TRAIN, {"kind": "remove_blocks", "n_blocks": 1}), candidate, data=data, seed=0)
    assert caught.value.code == "nothing_to_remove"


@pytest.mark.parametrize(
    ("code", "passes", "advice"),
    [
        ("quantize_twice", [{"kind": "quantize"}, {"kind": "quantize"}], "remove one of the two"),
        ("prune_after_quantize", [{"kind": "quantize"}, PRUNE], "first, quantize last"),
        ("recipe_invalid", [{**PRUNE, "amount": 1.0}], "less than 1"),
    ],
)
def test_impossible_recipes_say_what_to_change(code: str, passes: list[dict[str, Any]], advice: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        recipe_of(*passes)
    assert caught.value.code == code
    assert advice in caught.value.message


def test_a_missing_seed_is_zero_and_an_empty_one_is_refused(candidate: TorchCandidate) -> None:
    assert parse_recipe({"name": "t"}).seed == 0
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe({"name": "t", "seed": None})
    assert caught.value.code == "recipe_invalid"
    assert "seed" in caught.value.message


# what stops a recipe under way


def stopped(
    passes: Sequence[dict[str, Any]], error: Exception, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> tuple[CompressionError, list[Candidate]]:
    def fail(_self: Stepper, _indices: object) -> float:
        raise error

    monkeypatch.setattr(Stepper, "step", fail)
    kept: list[Candidate] = []
    with pytest.raises(CompressionError) as caught:
        run_recipe(
            recipe_of(*passes), tiny_candidate(), data=data, seed=0, keep_partial=lambda _, made: kept.append(made)
        )
    return caught.value, kept


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
    ids=["python", "cpu", "cuda"],
)
def test_memory_that_runs_out_has_its_code_and_keeps_the_passes_before(
    error: Exception, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure, kept = stopped([PRUNE, TRAIN], error, data, monkeypatch)
    assert isinstance(failure, ResourceExhausted)
    assert (failure.code, failure.detail["pass"], failure.detail["kind"]) == ("out_of_memory", 1, "train")
    assert "batch_size" in failure.message
    (partial,) = kept
    assert isinstance(partial, TorchCandidate)
    assert partial.history[-1].notes[0] == "recipe_not_finished"
    assert partial.history[-1].spec.kind == "structured_prune"
    assert describe_error(error, (CompressionError,))["code"] == "out_of_memory"


def test_an_error_nobody_foresaw_is_not_dressed_up(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stepper, "step", lambda _self, _indices: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_recipe(recipe_of(TRAIN), tiny_candidate(), data=data, seed=0)


def test_first_pass_that_fails_leaves_nothing_to_keep(data: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    failure, kept = stopped([TRAIN], MemoryError(), data, monkeypatch)
    assert failure.detail["pass"] == 0
    assert kept == []


def test_diverging_training_leaves_the_file_of_the_passes_before_it(data: DataSet, tmp_path: Path) -> None:
    model, folder = tmp_path / "model.safetensors", tmp_path / "out"
    folder.mkdir()
    candidate = tiny_candidate()
    with torch.no_grad():
        candidate.model.get_parameter("head.weight").mul_(1e30)
    save_candidate(candidate, model)
    arrays = {f"x_{name}": split.x for name, split in splits_of(data).items()}
    arrays |= {f"y_{name}": np.asarray(split.y) for name, split in splits_of(data).items()}
    np.savez(tmp_path / "data.npz", allow_pickle=False, **arrays)
    request = CompressRequest(
        task="compress",
        model=model,
        recipe={"name": "t", "passes": [PRUNE, {**TRAIN, "optimizer": {"lr": 10.0}, "budget": {"steps": 20}}]},
        data={"kind": "npz", "path": str(tmp_path / "data.npz")},
        output_dir=folder,
    )
    with pytest.raises(CompressionError) as caught:
        compress(request, no_progress)
    assert caught.value.code == "nan_loss"
    wanted = {"file": "partial-candidate.safetensors", "passes_done": 1, "n_passes": 2}
    assert caught.value.detail["partial"] == wanted
    kept = load_candidate(folder / "partial-candidate.safetensors")
    assert kept.history[-1].notes[0] == "recipe_not_finished"
    assert [path.name for path in folder.iterdir()] == ["partial-candidate.safetensors"]


def splits_of(data: DataSet) -> dict[str, Split]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def test_energy_budget_is_kept_with_a_table_of_every_layer(candidate: TorchCandidate, data: DataSet) -> None:
    """Every layer costs 3, 2 or 1 mJ at 8, 4 or 2 bits; 2 mJ a layer are allowed."""
    plain = run_recipe(recipe_of(FOUR_BITS), candidate, data=data, seed=0).candidate
    assert isinstance(plain, TorchCandidate)
    names = list(quantized_layers(plain.model))
    table = {name: {"8": 3.0, "4": 2.0, "2": 1.0} for name in names}
    allocation = {"energy_mj": 2.0 * len(names), "table": table}
    made = run_recipe(recipe_of({**FOUR_BITS, "allocation": allocation}), candidate, data=data, seed=0).candidate
    assert isinstance(made, TorchCandidate)
    assert made.structure.quantization is not None
    spent = sum(table[name][str(bits)] for name, bits in made.structure.quantization.layer_bits.items())
    assert len(names) < spent <= 2.0 * len(names)
    broke = {"energy_mj": 0.5 * len(names), "table": table}
    with pytest.raises(PassRefused) as caught:
        run_recipe(recipe_of({**FOUR_BITS, "allocation": broke}), candidate, data=data, seed=0)
    assert caught.value.code == "budget_impossible"
