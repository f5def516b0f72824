"""Trained-looking candidates and the compile step as a child process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgefleet_compression.candidate import TorchCandidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Quantize
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec

DIGITS = {"kind": "packaged", "name": "digits"}
# stated in full, so that another default of the zoo changes no figure here: 221,000 weights in 9 convolutions and a head
ARGUMENTS = {"n_classes": 10, "in_channels": 1, "stem_width": 32, "widths": [32, 64, 96], "blocks": [1, 1, 1]}

RunStep = Callable[..., tuple[int, list[dict[str, Any]]]]


def make_candidate() -> TorchCandidate:
    """A network with random weights and lively BatchNorm statistics, as training leaves them."""
    torch.manual_seed(0)
    model = build_model("resnet", ARGUMENTS).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0.0, 0.2)
    structure = Structure(
        architecture="resnet", arguments=ARGUMENTS, input=InputSpec(shape=(1, 8, 8)), task=TaskSpec(n_classes=10)
    )
    return TorchCandidate(model, structure)


@pytest.fixture(scope="session")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Candidate files by precision."""
    folder = tmp_path_factory.mktemp("candidates")
    data = load_data(DIGITS)
    floating = make_candidate()
    quantized = apply(Quantize(), floating, Context(data=data, seed=1))
    return {
        "fp32": save_candidate(floating, folder / "fp32.safetensors"),
        "int8": save_candidate(quantized, folder / "int8.safetensors"),
    }


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test split of the digits as an evaluation file."""
    data = load_data(DIGITS)
    assert data is not None
    assert data.test.y is not None
    path = tmp_path_factory.mktemp("evaluation") / "evaluation.npz"
    np.savez(path, x=data.test.x, y=data.test.y)
    return path


@pytest.fixture(scope="session")
def run_step() -> RunStep:
    """Runs the compile step; keyword arguments are the request's fields."""

    def run(**fields: Any) -> tuple[int, list[dict[str, Any]]]:
        request = {
            "task": "compile",
            "target": {"name": "onnxruntime"},
            "recipe_sha256": "0" * 64,
            "seed": 1,
            "threads": 1,
        }
        line = json.dumps({**request, **{key: _plain(value) for key, value in fields.items()}})
        with subprocess.Popen(
            [sys.executable, "-m", "edgefleet_deploy.step"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(line + "\n")
            child.stdin.flush()  # stays open: its end would mean that the parent is gone
            events = [json.loads(event) for event in child.stdout]
            return child.wait(timeout=120), events

    return run


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
