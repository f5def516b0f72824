"""What every architecture of the zoo promises to passes and compilers; a new one adds one line."""

import copy
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from edgefleet_compression.candidate import TorchCandidate, float_network, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.splitting import split_seeded
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.models.blocks import find_units
from edgefleet_compression.models.specs import ARCHITECTURES
from edgefleet_compression.models.transformer import TransformerEncoder
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import AnyPass, Budget, Quantize, RemoveBlocks, StructuredPrune, Student, Train
from edgefleet_compression.tasks import new_candidate
from edgefleet_compression.testing import TINY_ARGUMENTS, TINY_TEXT_ARGUMENTS, tiny_data, tiny_text_data
from edgefleet_compression.training.batchnorm import reestimate_batchnorm_

TINY: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "resnet": ("resnet", TINY_ARGUMENTS, (1, 8, 8)),
    "mobilenet_v2": (
        "mobilenet_v2",
        {"width_multiplier": 0.25, "form": "cifar", "blocks": [1, 2, 1, 1, 1, 1, 1]},
        (1, 8, 8),
    ),
    "resnet-bottleneck": (
        "resnet",
        {"stem": "imagenet", "block": "bottleneck", "stem_width": 16, "widths": [16, 16], "blocks": [1, 2]},
        (1, 8, 8),
    ),
    "efficientnet-b0": ("efficientnet", {"variant": "b0", "width_multiplier": 0.25, "blocks": [1] * 7}, (1, 8, 8)),
    "efficientnet-lite0": ("efficientnet", {"width_multiplier": 0.25, "blocks": [1, 2, 1, 1, 1, 1, 1]}, (1, 8, 8)),
    "efficientnet-padded-as-tensorflow": (
        "efficientnet",
        {"width_multiplier": 0.25, "blocks": [1] * 7, "padding": "same"},
        (1, 32, 32),
    ),
    "vgg": ("vgg", {"widths": [16] * 5, "blocks": [1, 1, 1, 1, 2]}, (1, 32, 32)),
    "vgg-imagenet": (
        "vgg",
        {"widths": [8] * 5, "blocks": [1] * 5, "head": "imagenet", "hidden": 16, "pooled_side": 1},
        (1, 32, 32),
    ),
    "convnet": ("convnet", {"widths": [8, 16]}, (1, 8, 8)),
    "convnet-separable": ("convnet", {"widths": [8, 16, 16], "convolution": "separable"}, (1, 8, 8)),
    "mlp": ("mlp", {"hidden": [32, 16]}, (1, 8, 8)),
    "transformer-post": ("transformer", TINY_TEXT_ARGUMENTS, (8,)),
    "transformer-pre-cls": (
        "transformer",
        {
            **TINY_TEXT_ARGUMENTS,
            "norm": "pre",
            "pooling": "cls",
            "has_pooler": True,
            "n_token_types": 2,
            "dropout": 0.1,
        },
        (8,),
    ),
}


def test_every_architecture_takes_part() -> None:
    assert {architecture for architecture, _, _ in TINY.values()} == set(ARCHITECTURES)


@pytest.fixture(scope="module", params=list(TINY))
def made(request: pytest.FixtureRequest) -> tuple[TorchCandidate, DataSet]:
    torch.set_num_threads(1)
    architecture, arguments, shape = TINY[request.param]
    data = tiny_text_data() if len(shape) == 1 else _images(shape)
    return new_candidate(architecture, arguments, data, seed=0), data


def _images(shape: tuple[int, ...]) -> DataSet:
    data = tiny_data(n_samples=64)
    if shape == (1, 8, 8):
        return data
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, *shape)).astype(np.float32)
    return split_seeded("tiny", {"x": x}, np.arange(64) % 4, seed=0)


def applied(spec: AnyPass, made: tuple[TorchCandidate, DataSet]) -> TorchCandidate:
    candidate, data = made
    result = apply(spec, candidate, Context(data, seed=3, reference=candidate))
    assert isinstance(result, TorchCandidate)
    return result


def assert_file_gives_the_same_network(candidate: TorchCandidate, x: torch.Tensor, tmp_path: Path) -> None:
    restored = load_candidate(save_candidate(candidate, tmp_path / "candidate.safetensors"))
    assert isinstance(restored, TorchCandidate)
    assert restored.structure.layers == candidate.structure.layers
    saved, found = candidate.model.state_dict(), restored.model.state_dict()
    assert list(saved) == list(found)
    assert all(torch.equal(saved[name], found[name]) for name in saved)
    # kernels may sum in another order where a tensor lies at another address
    assert torch.allclose(restored.model(x), candidate.model(x), rtol=1e-4, atol=1e-6)


def test_file_gives_the_same_network(made: tuple[TorchCandidate, DataSet], tmp_path: Path) -> None:
    assert_file_gives_the_same_network(made[0], torch.from_numpy(made[1].test.x), tmp_path)


def test_half_of_the_channels_can_go(made: tuple[TorchCandidate, DataSet], tmp_path: Path) -> None:
    spec = StructuredPrune(amount=0.5, round_to=1, min_channels=1)
    pruned = applied(spec, made)
    record = pruned.history[-1]
    assert record.before.macs is not None
    assert record.after.macs is not None
    assert record.after.macs < 0.75 * record.before.macs
    assert record.after.n_parameters < record.before.n_parameters
    assert_file_gives_the_same_network(pruned, torch.from_numpy(made[1].test.x), tmp_path)


def test_blocks_that_keep_the_shape_can_go(made: tuple[TorchCandidate, DataSet], tmp_path: Path) -> None:
    """Or the pass says that there are none; the only layer of an encoder stays."""
    units = find_units(made[0].model).values()
    spec = RemoveBlocks(n_blocks=1, n_samples=16)
    if isinstance(made[0].model, TransformerEncoder) or not any(unit.kind == "identity" for unit in units):
        with pytest.raises(PassRefused) as caught:
            applied(spec, made)
        assert caught.value.code == "nothing_to_remove"
        return
    shallower = applied(spec, made)
    assert shallower.history[-1].after.n_parameters < shallower.history[-1].before.n_parameters
    assert_file_gives_the_same_network(shallower, torch.from_numpy(made[1].test.x), tmp_path)


def test_pruned_network_trains_on(made: tuple[TorchCandidate, DataSet]) -> None:
    pruned = applied(StructuredPrune(amount=0.5, round_to=1, min_channels=1), made)
    trained = applied(Train(budget=Budget(steps=2), batch_size=16), (pruned, made[1]))
    assert trained.structure.layers == pruned.structure.layers


def test_smaller_student_of_the_family_trains(made: tuple[TorchCandidate, DataSet], tmp_path: Path) -> None:
    student = applied(Train(budget=Budget(steps=2), batch_size=16, student=Student(width_ratio=0.5)), made)
    assert student.history[-1].after.n_parameters < student.history[-1].before.n_parameters
    assert_file_gives_the_same_network(student, torch.from_numpy(made[1].test.x), tmp_path)


def test_simulated_integers_stay_close_to_the_float_network(
    made: tuple[TorchCandidate, DataSet], tmp_path: Path
) -> None:
    """An untrained deep and narrow network loses most, a trained one far less; unrelated outputs would differ by 1.4."""
    # with the statistics it was built with, an untrained deep network's outputs are too small to be told from rounding
    network = copy.deepcopy(made[0].model)
    reestimate_batchnorm_(network, torch.from_numpy(made[1].train.x))
    quantized = applied(Quantize(), (dataclasses.replace(made[0], model=network), made[1]))
    x = torch.from_numpy(made[1].test.x)
    wanted = float_network(quantized)(x)
    assert float((quantized.model(x) - wanted).detach().norm() / wanted.detach().norm()) < 0.7
    assert_file_gives_the_same_network(quantized, x, tmp_path)


# the exporter reverses paddings with a slice that it cannot fold itself; optimizers fold it later
@pytest.mark.filterwarnings("ignore:Constant folding:UserWarning")
def test_opset_13_file_computes_the_same(made: tuple[TorchCandidate, DataSet]) -> None:
    """With a free batch, and without operators that compute shapes."""
    candidate, data = made
    x = torch.from_numpy(data.test.x)
    buffer = io.BytesIO()
    torch.onnx.export(
        candidate.model,
        (x[:2],),
        buffer,  # type: ignore[arg-type] # a stream is taken too
        dynamo=False,
        opset_version=13,
        input_names=["input"],
        dynamic_axes={"input": {0: "batch"}},
    )
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": data.test.x})[0]
    assert np.allclose(found, candidate.model(x).detach().numpy(), atol=1e-4)
