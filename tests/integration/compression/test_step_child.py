"""The compression step as the controller runs it: a real child process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_compression.candidate import load_candidate, save_candidate
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.testing import TINY_ARGUMENTS, tiny_candidate, tiny_data, tiny_onnx, tiny_text_candidate

COMMAND = [sys.executable, "-m", "edgefleet_compression.step"]
TIMEOUT_S = 120
PRECISIONS = {"baseline": "fp32", "prune50": "fp32"} | dict.fromkeys(("prune50-int8", "distill-int8", "joint"), "int8")
"""Of the presets that are not named after theirs."""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def ask(child: subprocess.Popen[bytes], line: bytes) -> tuple[int, list[dict[str, Any]]]:
    """Send one request, keep stdin open, return the exit status and all events."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line)
    child.stdin.flush()
    events = [json.loads(event) for event in child.stdout]
    return child.wait(timeout=TIMEOUT_S), events


def request(child: subprocess.Popen[bytes], **fields: Any) -> tuple[int, list[dict[str, Any]]]:
    return ask(child, json.dumps(fields, default=str).encode() + b"\n")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compression")
    data = tiny_data(n_samples=120)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    arrays: dict[str, Any] = {f"x_{name}": split.x for name, split in splits.items()}
    arrays |= {f"y_{name}": split.y for name, split in splits.items()}
    np.savez(folder / "data.npz", **arrays)
    save_candidate(tiny_candidate(), folder / "model.safetensors")
    (folder / "own.onnx").write_bytes(tiny_onnx().SerializeToString())
    unusual = tiny_onnx()
    unusual.graph.node[1].op_type = "Selu"  # standard, but no layer of ours
    (folder / "unusual.onnx").write_bytes(unusual.SerializeToString())
    return folder


def data_spec(workspace: Path) -> dict[str, str]:
    return {"kind": "npz", "path": str(workspace / "data.npz")}


def shortened(recipe: Recipe) -> dict[str, Any]:
    document = recipe.model_dump(mode="json")
    for spec in document["passes"]:
        if spec["kind"] == "train":
            spec["budget"] = {"epochs": None, "steps": 4}
    return document


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_makes_a_candidate(
    child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path, name: str
) -> None:
    status, events = request(
        child,
        task="compress",
        model=workspace / "model.safetensors",
        recipe=shortened(PRESETS[name]),
        data=data_spec(workspace),
        seed=0,
        threads=1,
        output_dir=tmp_path,
    )
    assert (status, events[-1]["event"]) == (0, "done")
    result = events[-1]["result"]
    assert [record["spec"]["kind"] for record in result["records"]] == [spec.kind for spec in PRESETS[name].passes]
    assert load_candidate(tmp_path / result["candidate"]).traits.precision == PRECISIONS.get(name, name)
    assert [path.name for path in tmp_path.iterdir()] == [result["candidate"]]
    fractions = [event["fraction"] for event in events[:-1]]
    assert fractions == sorted(fractions)


def test_own_onnx_file_gets_a_plan(child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "task": "compress",
        "model": workspace / "own.onnx",
        "data": None,
        "seed": 0,
        "threads": 1,
        "output_dir": tmp_path,
    }
    status, events = request(child, recipe=PRESETS["int8"].model_dump(mode="json"), **common)
    assert status == 0
    assert events[-1]["result"]["candidate"] == "candidate.onnx"
    assert events[-1]["result"]["notes"] == ["calibration_random"]


def test_onnx_file_is_converted_for_a_recipe_that_prunes(
    child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "prune-int8",
            "passes": [
                {"kind": "structured_prune", "amount": 0.5, "round_to": 1, "min_channels": 1},
                {"kind": "train", "budget": {"steps": 2}},
                {"kind": "quantize"},
            ],
        }
    )
    status, events = request(
        child,
        task="compress",
        model=workspace / "own.onnx",
        recipe=recipe.model_dump(mode="json"),
        data=data_spec(workspace),
        output_dir=tmp_path,
    )
    assert status == 0
    result = events[-1]["result"]
    assert result["candidate"] == "candidate.safetensors"
    assert result["notes"][0] == "converted_from_onnx"
    assert 0 <= result["conversion_difference"] < 1e-4
    assert load_candidate(tmp_path / "candidate.safetensors").traits.precision == "int8"


def test_refusal_arrives_as_a_coded_event(child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path) -> None:
    status, events = request(
        child,
        task="compress",
        model=workspace / "unusual.onnx",
        recipe=PRESETS["prune50"].model_dump(mode="json"),
        data=data_spec(workspace),
        seed=0,
        threads=1,
        output_dir=tmp_path,
    )
    assert (status, events[-1]["event"]) == (3, "failed")
    assert events[-1]["error"]["code"] == "needs_torch_model"
    assert events[-1]["error"]["detail"]["obstacles"] == ["operator Selu has no plain layer"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{not json\n", "request_invalid"),
        (b"[]\n", "request_invalid"),
        (b'{"task": "dance"}\n', "request_invalid"),
        (b'{"task": "inspect"}\n', "request_invalid"),
        (b'{"task": "inspect", "model": "/nowhere/model.onnx"}\n', "file_missing"),
    ],
)
def test_corrupt_request_fails_with_its_code(child: subprocess.Popen[bytes], line: bytes, code: str) -> None:
    status, events = ask(child, line)
    assert status == 3
    assert [event["event"] for event in events][-1] == "failed"
    assert events[-1]["error"]["code"] == code


def test_broken_recipe_fails_before_the_model_is_loaded(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    status, events = request(
        child,
        task="compress",
        model="/nowhere/model.onnx",
        recipe={"name": "x", "passes": [{"kind": "quantize"}, {"kind": "quantize"}]},
        output_dir=tmp_path,
    )
    assert (status, events[-1]["error"]["code"]) == (3, "quantize_twice")


def test_child_ends_when_its_parent_closes_stdin_before_asking(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(timeout=TIMEOUT_S) == 4


def test_child_ends_in_the_middle_of_training_when_its_parent_is_gone(
    child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path
) -> None:
    recipe = {"name": "long", "passes": [{"kind": "train", "budget": {"steps": 1_000_000}}]}
    fields = {
        "task": "compress",
        "model": str(workspace / "model.safetensors"),
        "recipe": recipe,
        "data": data_spec(workspace),
        "output_dir": str(tmp_path),
    }
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(fields).encode() + b"\n")
    child.stdin.flush()
    for line in child.stdout:
        if "step " in json.loads(line)["message"]:
            break
    child.stdin.close()
    assert child.wait(timeout=TIMEOUT_S) == 4
    assert list(tmp_path.iterdir()) == []


def test_training_killed_in_the_middle_goes_on_in_the_next_child(
    child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path
) -> None:
    recipe = {
        "name": "long",
        "passes": [
            {"kind": "train", "budget": {"steps": 10}},
            {
                "kind": "train",
                "budget": {"steps": 40},
                "ingredients": [{"kind": "fake_quant"}, {"kind": "distill", "teacher": "ema"}],
            },
        ],
    }
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    common: dict[str, Any] = {
        "task": "compress",
        "model": workspace / "model.safetensors",
        "recipe": recipe,
        "data": data_spec(workspace),
        "seed": 0,
        "threads": 1,
    }
    killed = {**common, "output_dir": tmp_path / "resumed", "checkpoint_dir": tmp_path / "kept"}
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(killed, default=str).encode() + b"\n")
    child.stdin.flush()
    for line in child.stdout:
        if json.loads(line)["detail"].get("pass") == 1 and "step 6" in json.loads(line)["message"]:
            break
    child.kill()
    child.wait()
    assert list((tmp_path / "resumed").iterdir()) == []
    results = {}
    for name, fields in (("resumed", killed), ("whole", {**common, "output_dir": tmp_path / "whole"})):
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as again:
            results[name] = request(again, **fields)
    messages = [event["message"] for event in results["resumed"][1] if event["event"] == "progress"]
    assert any("resumed at step" in message for message in messages)
    written = [(tmp_path / name / "candidate.safetensors").read_bytes() for name in results]
    assert written[0] == written[1]
    histories = [events[-1]["result"]["history"] for _, events in results.values()]
    assert histories[0] == histories[1]
    assert histories[0][1]["epochs"][-1]["step"] == 40
    assert histories[0][1]["epochs"][-1]["learning_rate"] < 0.02


def test_model_is_trained_from_scratch(child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path) -> None:
    status, events = request(
        child,
        task="train_model",
        architecture="resnet",
        arguments=TINY_ARGUMENTS,
        data=data_spec(workspace),
        seed=0,
        epochs=8,
        output_dir=tmp_path,
        threads=1,
    )
    assert status == 0
    result = events[-1]["result"]
    assert result["accuracy_test"] > 0.5
    assert load_candidate(tmp_path / result["candidate"]).history[0].spec.kind == "train"


def test_model_file_is_described(child: subprocess.Popen[bytes], workspace: Path) -> None:
    status, events = request(child, task="inspect", model=workspace / "model.safetensors")
    assert status == 0
    assert events[-1]["result"]["architecture"] == "resnet"


def test_evaluation_set_is_written(child: subprocess.Popen[bytes], workspace: Path, tmp_path: Path) -> None:
    status, events = request(
        child,
        task="prepare_data",
        data=data_spec(workspace),
        model=workspace / "model.safetensors",
        output_dir=tmp_path,
    )
    assert status == 0
    assert [path.name for path in tmp_path.iterdir()] == [events[-1]["result"]["evaluation"]]


KEYWORDS = {"kind": "generated", "name": "keywords", "n_samples": 200, "length": 8, "vocabulary": 16}


def test_text_model_is_trained_and_compressed(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    model = save_candidate(tiny_text_candidate(), tmp_path / "text.safetensors")
    recipe = {
        "name": "text",
        "passes": [
            {"kind": "structured_prune", "amount": 0.5, "round_to": 1, "min_channels": 1},
            {"kind": "train", "budget": {"steps": 2}, "ingredients": [{"kind": "distill", "teacher": "fixed"}]},
            {"kind": "quantize", "activations": {"mode": "dynamic"}},
        ],
    }
    status, events = request(
        child, task="compress", model=model, recipe=recipe, data=KEYWORDS, seed=0, threads=1, output_dir=tmp_path
    )
    assert status == 0
    made = load_candidate(tmp_path / events[-1]["result"]["candidate"])
    assert made.traits.precision == "int8-dynamic"
    assert events[-1]["result"]["stats"]["n_parameters"] < 3_000


def test_model_is_analysed_before_compression(child: subprocess.Popen[bytes], workspace: Path) -> None:
    status, events = request(
        child, task="analyze", model=workspace / "model.safetensors", data=data_spec(workspace), threads=1
    )
    assert status == 0
    result = events[-1]["result"]
    assert result["macs"] == result["macs_by_counter"]
    assert set(result["layers"][0]["rounded"]) == {"8", "4", "2"}
    assert [row["recipe"] for row in result["expected"]] == list(PRESETS)
