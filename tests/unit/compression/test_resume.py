"""A recipe that was killed at any step and is begun again makes the very file that an undisturbed one makes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgefleet_compression.candidate import TorchCandidate, save_candidate
from edgefleet_compression.checkpoints import CheckpointFolder
from edgefleet_compression.child import Emit
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.passes.application import run_recipe
from edgefleet_compression.recipe import Recipe, parse_recipe
from edgefleet_compression.testing import tiny_candidate, tiny_text_candidate, tiny_text_data
from edgefleet_compression.training.stepping import Stepper

EPOCHS = {"budget": {"epochs": 3}, "optimizer": {"lr": 0.02}, "batch_size": 32}
"""Five steps an epoch of the tiny data's 140 training samples."""


class Killed(Exception):
    """Stands for the end of the process."""


def train(**settings: Any) -> dict[str, Any]:
    return {"kind": "train", **EPOCHS, **settings}


SPARSIFY = {"kind": "sparsify", "amount": 0.6, "criterion": "taylor", "scope": "dynamic", "every_steps": 2}
RECIPES: dict[str, list[dict[str, Any]]] = {
    "plain": [train(augmentation="crop_flip", accumulate=2, optimizer={"name": "adamw", "lr": 0.002})],
    "sparsify": [train(ingredients=[SPARSIFY, {"kind": "distill", "teacher": "same_class"}])],
    "quantize-ema": [
        train(ingredients=[{"kind": "fake_quant"}, {"kind": "distill", "teacher": "ema", "ema_decay": 0.9}])
    ],
    "learned-ensemble": [
        train(
            ingredients=[
                {"kind": "fake_quant", "weights": {"bits": 4, "scale": "learned"}, "activations": None},
                {"kind": "distill", "teacher": "ensemble", "n_checkpoints": 2},
            ]
        )
    ],
    "features": [
        train(
            student={"width_ratio": 0.5},
            ingredients=[{"kind": "fake_quant"}, {"kind": "distill", "teacher": "fixed", "method": "features"}],
        )
    ],
    "best-larger": [
        train(ingredients=[{"kind": "distill", "teacher": "best_validation", "method": "attention"}]),
        {"kind": "quantize"},
        train(
            ingredients=[
                {"kind": "fake_quant", "start_fraction": 0.0},
                {"kind": "distill", "teacher": "larger", "teacher_budget": {"steps": 3}},
            ]
        ),
    ],
    "joint": [
        train(
            loss_weights={"sparsify": 0.1, "fake_quant": 0.1},
            gradient_scaling="adaptive",
            ingredients=[
                {"kind": "sparsify", "amount": 0.5},
                {"kind": "fake_quant", "start_fraction": 0.3},
                {"kind": "distill", "teacher": "fixed"},
            ],
        )
    ],
    "ticket": [{"kind": "lottery_ticket", "amount": 0.5, "rounds": 2, "rewind_fraction": 0.2, **EPOCHS}],
}


def recipe_of(name: str) -> Recipe:
    return parse_recipe({"name": name, "passes": RECIPES[name]})


def file_of(recipe: Recipe, candidate: TorchCandidate, data: DataSet, folder: Path, **settings: Any) -> bytes:
    made = run_recipe(recipe, candidate, data=data, seed=3, **settings).candidate
    return save_candidate(made, folder / "made.safetensors").read_bytes()


def listener(messages: list[str]) -> Emit:
    """Return a progress channel that keeps the messages."""

    def listen(fraction: float, message: str, **detail: Any) -> None:
        messages.append(message)

    return listen


def kill_at(monkeypatch: pytest.MonkeyPatch, n_steps: int) -> None:
    """Let the process end before step ``n_steps`` of those that it takes from now on."""
    undisturbed, taken = Stepper.step, [0]

    def step(stepper: Stepper, indices: Tensor) -> float:
        if taken[0] == n_steps:
            raise Killed
        taken[0] += 1
        return undisturbed(stepper, indices)

    monkeypatch.setattr(Stepper, "step", step)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: DataSet) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return {name: file_of(recipe_of(name), tiny_candidate(), data, folder) for name in RECIPES}


@pytest.mark.parametrize("name", list(RECIPES))
def test_killed_recipe_goes_on_to_the_same_bytes(
    name: str,
    candidate: TorchCandidate,
    data: DataSet,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed again and again: each attempt gets a few steps further, within epochs and at their ends."""
    settings = {"checkpoint_dir": tmp_path / "kept", "checkpoint_every_steps": 3}
    n_killed, messages = 0, list[str]()
    for n_steps in (4, 7, 1000):
        with monkeypatch.context() as patch:
            kill_at(patch, n_steps)
            try:
                made = file_of(recipe_of(name), candidate, data, tmp_path, emit=listener(messages), **settings)
            except Killed:
                n_killed += 1
                continue
        break
    assert n_killed >= 2
    assert any("resumed at step" in message for message in messages)
    assert made == undisturbed[name]


def test_dropout_of_a_transformer_is_taken_up_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe({"name": "text", "passes": [train(optimizer={"name": "adam", "lr": 0.003})]})
    candidate, data = tiny_text_candidate(), tiny_text_data()
    whole = file_of(recipe, candidate, data, tmp_path)
    settings: dict[str, Any] = {"checkpoint_dir": tmp_path / "kept", "checkpoint_every_steps": 1}
    with monkeypatch.context() as patch:
        kill_at(patch, 7)
        with pytest.raises(Killed):
            file_of(recipe, candidate, data, tmp_path, **settings)
    assert file_of(recipe, candidate, data, tmp_path, **settings) == whole


def test_history_of_a_resumed_training_is_whole(candidate: TorchCandidate, data: DataSet, tmp_path: Path) -> None:
    recipe, kept = recipe_of("sparsify"), tmp_path / "kept"
    first = run_recipe(recipe, candidate, data=data, seed=3, checkpoint_dir=kept).records[0]
    messages: list[str] = []
    second = run_recipe(recipe, candidate, data=data, seed=3, checkpoint_dir=kept, emit=listener(messages)).records[0]
    assert messages == ["resumed after pass 1 of 1"]
    assert second.curve == first.curve
    assert [epoch.step for epoch in first.curve] == [5, 10, 15]
    assert first.curve[-1].sparsity == pytest.approx(0.6, abs=0.03)
    assert first.curve[-1].figures["target_sparsity"] == 0.6
    assert first.curve[-1].figures["threshold"] > 0
    assert second.cost.wall_s == first.cost.wall_s


@pytest.mark.parametrize("change", ["seed", "spec"])
def test_checkpoints_of_other_work_are_not_taken(
    candidate: TorchCandidate, data: DataSet, tmp_path: Path, change: str
) -> None:
    kept, messages = tmp_path / "kept", list[str]()
    recipe = parse_recipe({"name": "r", "passes": [train(budget={"steps": 2})]})
    other = parse_recipe({"name": "r", "passes": [train(budget={"steps": 2}, label_smoothing=0.1)]})
    run_recipe(recipe, candidate, data=data, seed=3, checkpoint_dir=kept)
    run_recipe(
        other if change == "spec" else recipe,
        candidate,
        data=data,
        seed=4 if change == "seed" else 3,
        checkpoint_dir=kept,
        emit=listener(messages),
    )
    assert not any("resumed" in message for message in messages if change == "spec")
    assert "resumed after pass 1 of 1" not in messages


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "deep", every_steps=1)
    state = {"a": torch.eye(2), "b": [1, None, {"c": torch.tensor(True)}], "d": 0.1, "e": {}, "f": "x"}
    folder.save("s", state, fingerprint="one")
    found = folder.load("s", fingerprint="one")
    assert found is not None
    assert torch.equal(found["a"], state["a"])  # type: ignore[arg-type]
    assert bool(found["b"][2]["c"]) is True
    assert (found["b"][:2], found["d"], found["e"], found["f"]) == ([1, None], 0.1, {}, "x")
    assert folder.load("s", fingerprint="two") is None
    assert folder.load("t", fingerprint="one") is None
    assert [path.name for path in folder.path.iterdir()] == ["s.safetensors"]


@pytest.mark.parametrize("damage", [lambda whole: whole[:50], lambda _: b"", lambda whole: b"x" * len(whole)])
def test_damaged_checkpoint_is_no_checkpoint(tmp_path: Path, damage: Any) -> None:
    folder = CheckpointFolder(tmp_path, every_steps=1)
    folder.save("s", {"a": torch.eye(2)}, fingerprint="one")
    path = tmp_path / "s.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert folder.load("s", fingerprint="one") is None
