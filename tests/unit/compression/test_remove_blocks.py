"""Whole blocks out of a network: counts by hand, the right ones first, and what cannot go."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import ModelFileInvalid, PassRefused
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.models.specs import input_arguments
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import (
    AnyPass,
    Budget,
    LowRank,
    PruneWeights,
    Quantize,
    RemoveBlocks,
    StructuredPrune,
    Student,
    Train,
)
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec
from edgefleet_compression.testing import TINY_TEXT_ARGUMENTS, tiny_data, tiny_text_data

ONE = RemoveBlocks(n_blocks=1, criterion="random")


def network(architecture: str, arguments: dict[str, Any], shape: tuple[int, ...] = (1, 8, 8)) -> TorchCandidate:
    torch.manual_seed(0)
    is_text = architecture == "transformer"
    given = {"n_classes": 4, **input_arguments(architecture, shape, n_values=16), **arguments}
    spec = InputSpec(shape=shape, dtype="int64", n_values=16) if is_text else InputSpec(shape=shape)
    model = build_model(architecture, given).eval()
    layers = read_layers(model)
    structure = Structure(
        architecture=architecture, arguments=given, layers=layers, input=spec, task=TaskSpec(n_classes=4)
    )
    return TorchCandidate(model, structure)


def residual(blocks: tuple[int, ...] = (3, 2)) -> TorchCandidate:
    return network("resnet", {"stem_width": 16, "widths": (16, 32)[: len(blocks)], "blocks": blocks})


def encoder(n_layers: int = 3) -> TorchCandidate:
    return network("transformer", {**TINY_TEXT_ARGUMENTS, "n_layers": n_layers}, (8,))


def removed(spec: AnyPass, candidate: TorchCandidate, data: DataSet | None = None, seed: int = 0) -> TorchCandidate:
    made = apply(spec, candidate, Context(data, seed=seed))
    assert isinstance(made, TorchCandidate)
    return made


def refusal(spec: AnyPass, candidate: TorchCandidate | OnnxCandidate, data: DataSet | None = None) -> PassRefused:
    with pytest.raises(PassRefused) as caught:
        apply(spec, candidate, Context(data, seed=0))
    return caught.value


def test_every_block_of_resnet20_costs_two_convolutions() -> None:
    """2 x 9 x width^2 weights and two BatchNorms of 2 x width; x side^2 multiply-accumulates: 4,718,592 at any stage."""
    candidate = network("resnet", {"stem_width": 16, "widths": (16, 32, 64), "blocks": (3, 3, 3)}, (3, 32, 32))
    made = removed(RemoveBlocks(n_blocks=7, criterion="random"), candidate)
    record = made.history[-1]
    assert record.before.macs is not None
    assert record.after.macs == record.before.macs - 7 * 4_718_592
    widths = 3 * [16] + 2 * [32] + 2 * [64]
    assert record.after.n_parameters == record.before.n_parameters - sum(18 * w**2 + 4 * w for w in widths)
    assert sum(isinstance(module, nn.Conv2d) for module in made.model.modules()) == 1 + 2 * (2 + 1)


def test_an_encoder_layer_costs_four_projections_a_feed_forward_part_and_two_norms() -> None:
    """Width 16, feed-forward 32: 4 x 272 + 544 + 528 + 2 x 32."""
    record = removed(ONE, encoder()).history[-1]
    assert record.before.n_parameters - record.after.n_parameters == 4 * 272 + 544 + 528 + 64


@pytest.mark.parametrize(
    ("architecture", "arguments", "n_removable"),
    [
        ("mobilenet_v2", {"form": "cifar"}, 10),
        ("efficientnet", {"variant": "b0"}, 9),
    ],
)
def test_inverted_residuals_with_a_shortcut_can_go(
    architecture: str, arguments: dict[str, Any], n_removable: int
) -> None:
    """All but the first of every stage: 17 - 7 blocks of MobileNetV2 (table 2), 16 - 7 of EfficientNet-B0 (table 1)."""
    candidate = network(architecture, arguments)
    made = removed(RemoveBlocks(n_blocks=n_removable, criterion="random"), candidate)
    assert len(made.history[-1].removed) == n_removable
    assert made.model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    asked = RemoveBlocks(n_blocks=n_removable + 1, criterion="random")
    assert refusal(asked, candidate).detail["n_removable"] == n_removable


def test_what_is_left_computes_what_the_other_blocks_compute(data: DataSet) -> None:
    candidate = residual()
    made = removed(RemoveBlocks(n_blocks=1), candidate, data)
    (gone,) = made.history[-1].removed
    with torch.no_grad():
        for norm in [module for module in made.model.modules() if isinstance(module, nn.BatchNorm2d)]:
            norm.reset_running_stats()  # as the untrained network has them
        x = torch.from_numpy(data.test.x)
        model = candidate.model
        values: Tensor = model.get_submodule("stem_relu")(
            model.get_submodule("stem_bn")(model.get_submodule("stem")(x))
        )
        for name, block in model.get_submodule("blocks").named_children():
            values = values if f"blocks.{name}" == gone else block(values)
        wanted = model.get_submodule("head")(values.mean(dim=(2, 3)))
        torch.testing.assert_close(made.model(x), wanted, rtol=1e-4, atol=1e-5)


def test_shallower_encoder_is_the_encoder_of_fewer_layers() -> None:
    candidate = encoder(3)
    made = removed(RemoveBlocks(n_blocks=2, criterion="random"), candidate)
    (kept,) = {"layers.0", "layers.1", "layers.2"} - set(made.structure.removed)
    single = encoder(1).model
    state = candidate.model.state_dict()
    own = {key: tensor for key, tensor in state.items() if key.startswith(f"{kept}.") or not key.startswith("layers.")}
    renamed = {key.replace(f"{kept}.", "layers.0."): tensor for key, tensor in own.items()}
    single.load_state_dict({key: renamed[key] for key in single.state_dict()})
    tokens = torch.from_numpy(tiny_text_data().test.x)
    torch.testing.assert_close(made.model(tokens), single(tokens))


@pytest.mark.parametrize("criterion", ["influence", "change"])
@pytest.mark.parametrize("rescore", [True, False])
def test_a_block_that_does_nothing_goes_first(criterion: str, rescore: bool, data: DataSet) -> None:
    """Its last BatchNorm has scale and shift zero: output equals input, so that it is worth exactly nothing."""
    candidate = residual()
    with torch.no_grad():
        for parameter in ("weight", "bias"):
            candidate.model.get_parameter(f"blocks.2.bn2.{parameter}").zero_()
    spec = RemoveBlocks.model_validate({"n_blocks": 2, "criterion": criterion, "rescore": rescore})
    record = removed(spec, candidate, data).history[-1]
    assert record.removed[0] == "blocks.2"
    assert record.metrics["score.blocks.2"] == pytest.approx(0.0, abs=1e-6)
    assert record.metrics[f"score.{record.removed[1]}"] > 1e-3


def test_loss_is_that_of_the_network_without_the_block(data: DataSet) -> None:
    """The block that goes is the one whose absence costs least; every training sample is looked at."""
    candidate = residual()
    record = removed(RemoveBlocks(n_blocks=1, criterion="loss", n_samples=len(data.train)), candidate, data).history[-1]
    x, y = torch.from_numpy(data.train.x), torch.from_numpy(np.asarray(data.train.y))
    losses = {}
    with torch.no_grad():
        for index in ("0", "1", "2", "4"):
            model = residual().model
            blocks = model.get_submodule("blocks")
            setattr(blocks, index, nn.Identity())
            losses[f"blocks.{index}"] = float(nn.functional.cross_entropy(model(x), y))
    assert record.removed == (min(losses, key=lambda name: losses[name]),)
    assert record.metrics[f"score.{record.removed[0]}"] == pytest.approx(min(losses.values()), rel=1e-4)


def test_random_is_decided_by_the_seed() -> None:
    chosen = [removed(ONE, residual(), seed=seed).history[-1].removed for seed in (0, 0, 1, 2, 3, 4)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


def test_a_share_is_rounded_and_at_least_one() -> None:
    """Four of the five blocks keep the shape."""
    counts = [
        len(removed(RemoveBlocks(share=share, criterion="random"), residual()).history[-1].removed)
        for share in (0.01, 0.5, 0.9)
    ]
    assert counts == [1, 2, 4]


def test_projecting_block_leaves_its_shortcut() -> None:
    """Block 3 maps 16 to 32 channels: 1x1 weights and a BatchNorm stay, two 3x3 convolutions and two BatchNorms go."""
    candidate = residual((1, 1))
    spec = RemoveBlocks(n_blocks=1, shortcuts="any", criterion="random")
    made = next(
        made
        for made in (removed(spec, candidate, seed=seed) for seed in range(20))
        if made.structure.removed == ("blocks.1",)
    )
    left = {name for name, _ in made.model.get_submodule("blocks.1").named_parameters()}
    assert left == {"shortcut.0.weight", "shortcut.1.weight", "shortcut.1.bias"}
    record = made.history[-1]
    assert record.before.n_parameters - record.after.n_parameters == 9 * 16 * 32 + 9 * 32 * 32 + 4 * 32


def test_record_names_what_cannot_go_and_why() -> None:
    reasons = {skip.layer: skip.reason for skip in removed(ONE, residual()).history[-1].skipped}
    assert reasons == {"blocks.3": 'it changes the shape: only with "shortcuts": "any"'}


def test_plain_layers_go_on_request_where_they_keep_the_shape() -> None:
    """Of VGG-11's stages (1, 1, 2, 2, 2) the second of a stage keeps its width; stages 4 and 5 are equally wide."""
    arguments = {"widths": [8, 16, 32, 32, 32], "blocks": [1, 1, 2, 2, 2]}
    candidate = network("vgg", arguments, (1, 32, 32))
    assert refusal(ONE, candidate).code == "nothing_to_remove"
    spec = RemoveBlocks(n_blocks=5, criterion="random", plain_layers=True)
    made = removed(spec, candidate)
    assert sum(isinstance(module, nn.Conv2d) for module in made.model.modules()) == 3
    skipped = [skip.layer for skip in made.history[-1].skipped]
    assert skipped == ["features.0", "features.4", "features.8"]
    record = made.history[-1]
    assert record.before.n_parameters - record.after.n_parameters == 5 * (9 * 32 * 32 + 32 + 2 * 32)


@pytest.mark.parametrize(
    ("spec", "make", "code"),
    [
        (ONE, lambda: network("convnet", {"widths": [8, 16]}), "nothing_to_remove"),
        (ONE, lambda: network("mlp", {"hidden": [16, 16]}), "nothing_to_remove"),
        (RemoveBlocks(n_blocks=5, criterion="random"), residual, "too_many_blocks"),
        (RemoveBlocks(n_blocks=3, criterion="random"), encoder, "too_many_blocks"),
        (RemoveBlocks(n_blocks=1), residual, "criterion_needs_data"),
        (RemoveBlocks(n_blocks=1, criterion="loss"), residual, "criterion_needs_data"),
        (ONE, lambda: removed(Quantize(), residual()), "prune_after_quantize"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(spec: AnyPass, make: Any, code: str) -> None:
    assert refusal(spec, make()).code == code


BEFORE_AND_AFTER: dict[str, tuple[AnyPass, ...]] = {
    "then-channels-and-ranks": (ONE, StructuredPrune(amount=0.5), LowRank(energy=0.6)),
    "ranks-first": (LowRank(energy=0.5), ONE, StructuredPrune(amount=0.25, round_to=1)),
    "zeros-first": (PruneWeights(amount=0.5), ONE, ONE),
    "then-integers": (ONE, Quantize()),
}


@pytest.mark.parametrize("name", list(BEFORE_AND_AFTER))
def test_file_restores_the_shallower_network(name: str, data: DataSet, tmp_path: Path) -> None:
    made = residual()
    for spec in BEFORE_AND_AFTER[name]:
        made = removed(spec, made, data)
    restored = load_candidate(save_candidate(made, tmp_path / "made.safetensors"))
    assert isinstance(restored, TorchCandidate)
    x = torch.from_numpy(data.test.x)
    torch.testing.assert_close(restored.model(x), made.model(x), rtol=1e-4, atol=1e-5)
    present = {layer for layer, _ in made.model.named_modules()}
    assert set(made.structure.masked) <= present
    assert set(made.structure.factorised) <= present


@pytest.mark.parametrize(
    "before", [LowRank(energy=0.3, layers=("linear",)), PruneWeights(amount=0.5)], ids=["ranks", "zeros"]
)
def test_plain_layers_that_went_are_neither_split_nor_masked_any_more(before: AnyPass, tmp_path: Path) -> None:
    changed = removed(before, network("mlp", {"hidden": [32, 32, 32]}))
    made = removed(RemoveBlocks(n_blocks=2, criterion="random", plain_layers=True), changed)
    assert made.history[-1].after.n_parameters < made.history[-1].before.n_parameters
    restored = load_candidate(save_candidate(made, tmp_path / "made.safetensors"))
    assert isinstance(restored, TorchCandidate)
    trained = removed(Train(budget=Budget(steps=1)), restored, tiny_data())
    assert set(made.structure.removed).isdisjoint((*trained.structure.masked, *trained.structure.factorised))


def test_a_file_that_names_an_unknown_block_is_refused(tmp_path: Path) -> None:
    candidate = residual()
    odd = candidate.structure.model_copy(update={"removed": ("stem",)})
    path = save_candidate(TorchCandidate(candidate.model, odd), tmp_path / "odd.safetensors")
    with pytest.raises(ModelFileInvalid) as caught:
        load_candidate(path)
    assert caught.value.code == "structure_mismatch"


def test_student_of_a_shallower_network_is_whole(data: DataSet) -> None:
    made = removed(ONE, residual(), data)
    student = removed(Train(budget=Budget(steps=1), student=Student(width_ratio=0.5)), made, data)
    assert student.structure.removed == ()


@pytest.mark.parametrize("make", [residual, encoder])
def test_exported_graph_computes_the_same_with_fewer_operators(make: Any) -> None:
    candidate = make()
    spec = RemoveBlocks(n_blocks=2, shortcuts="any", criterion="random")
    x = torch.from_numpy(tiny_text_data().test.x) if make is encoder else torch.randn(4, 1, 8, 8)
    sizes = []
    for made in (candidate, removed(spec, candidate)):
        buffer = io.BytesIO()
        torch.onnx.export(made.model, (x,), buffer, dynamo=False, opset_version=13, input_names=["x"])  # type: ignore[arg-type] # a stream is taken too
        sizes.append(len(buffer.getvalue()))
        session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
        found = session.run(None, {"x": x.numpy()})[0]
        np.testing.assert_allclose(found, made.model(x).detach().numpy(), atol=1e-4)
    assert sizes[1] < sizes[0]
