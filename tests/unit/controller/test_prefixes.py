"""The shelf of finished trainings: what it lends, what it leaves alone, what it throws away."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgefleet_controller.workflows.prefixes import PrefixShelf

PRUNE: dict[str, Any] = {"kind": "structured_prune", "amount": 0.5}
TRAIN: dict[str, Any] = {"kind": "train", "budget": {"epochs": 2}}
KEY = {"model_sha256": "m", "threads": 1}


def finish(checkpoints: Path, index: int, content: str = "weights") -> None:
    """As a step leaves a pass that it finished."""
    folder = checkpoints / f"pass-{index}"
    folder.mkdir(parents=True)
    (folder / "candidate.safetensors").write_text(content)
    (folder / "checkpoint.pt").write_text("of no use any more")
    (folder / "finished.json").write_text(json.dumps({"file": "candidate.safetensors", "fingerprint": "f"}))


@pytest.fixture
def shelf(tmp_path: Path) -> PrefixShelf:
    shelf = PrefixShelf(tmp_path / "shelf")
    for index in range(3):
        finish(tmp_path / "first", index)
    shelf.keep(KEY, [PRUNE, TRAIN, {"kind": "quantize"}], tmp_path / "first")
    return shelf


def test_a_recipe_with_the_same_training_begins_after_it(shelf: PrefixShelf, tmp_path: Path) -> None:
    assert shelf.lend(KEY, [PRUNE, TRAIN, {"kind": "cast"}], tmp_path / "second")
    lent = tmp_path / "second" / "pass-1"
    assert sorted(path.name for path in lent.iterdir()) == ["candidate.safetensors", "finished.json"]
    assert (lent / "candidate.safetensors").read_text() == "weights"
    assert not (tmp_path / "second" / "pass-0").exists()


@pytest.mark.parametrize(
    ("key", "passes"),
    [
        (KEY | {"threads": 2}, [PRUNE, TRAIN]),
        (KEY, [PRUNE | {"amount": 0.25}, TRAIN]),
        (KEY, [TRAIN]),
        (KEY, [PRUNE, {"kind": "quantize"}]),
    ],
)
def test_other_work_gets_nothing(shelf: PrefixShelf, tmp_path: Path, key: Any, passes: Any) -> None:
    assert not shelf.lend(key, passes, tmp_path / "second")
    assert not (tmp_path / "second" / "pass-1").exists()


def test_what_a_killed_attempt_of_the_same_recipe_left_is_not_touched(shelf: PrefixShelf, tmp_path: Path) -> None:
    finish(tmp_path / "second", 1, "its own")
    assert not shelf.lend(KEY, [PRUNE, TRAIN], tmp_path / "second")
    assert (tmp_path / "second" / "pass-1" / "candidate.safetensors").read_text() == "its own"


def test_a_damaged_place_is_left_out(shelf: PrefixShelf, tmp_path: Path) -> None:
    for path in (tmp_path / "shelf").rglob("candidate.safetensors"):
        path.unlink()
    assert not shelf.lend(KEY, [PRUNE, TRAIN], tmp_path / "second")
    assert not (tmp_path / "second" / "pass-1").exists()


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    shelf = PrefixShelf(tmp_path / "shelf", most_bytes=1500)
    for number in range(3):
        checkpoints = tmp_path / str(number)
        finish(checkpoints, 0, "x" * 600)
        shelf.keep(KEY, [TRAIN | {"batch_size": number}], checkpoints)
        for place in (tmp_path / "shelf").iterdir():
            os.utime(place, (place.stat().st_mtime - 60,) * 2)
    lent = [shelf.lend(KEY, [TRAIN | {"batch_size": number}], tmp_path / f"again {number}") for number in range(3)]
    assert lent == [False, True, True]
