import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.criteria import CRITERIA
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import CriterionName, LowRank, Quantize, StructuredPrune
from edgefleet_compression.passes.structured_prune import kept_channels
from edgefleet_compression.tasks import new_candidate
from edgefleet_compression.testing import tiny_data, tiny_text_candidate


def prune(candidate: TorchCandidate, spec: StructuredPrune, data: DataSet | None = None) -> TorchCandidate:
    pruned = apply(spec, candidate, Context(data, seed=3))
    assert isinstance(pruned, TorchCandidate)
    return pruned


def test_half_of_every_layer_is_exactly_half(candidate: TorchCandidate) -> None:
    """Widths 16, 16, 32 become 8, 8, 16; the head keeps its four classes and loses half of its inputs."""
    pruned = prune(candidate, StructuredPrune(amount=0.5, round_to=8))
    model = pruned.model
    convolutions = {
        name: (m.in_channels, m.out_channels) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)
    }
    assert convolutions == {
        "stem": (1, 8),
        "blocks.0.conv1": (8, 8),
        "blocks.0.conv2": (8, 8),
        "blocks.1.conv1": (8, 16),
        "blocks.1.conv2": (16, 16),
        "blocks.1.shortcut.0": (8, 16),
    }
    head = model.get_submodule("head")
    assert isinstance(head, nn.Linear)
    assert (head.in_features, head.out_features) == (16, 4)
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 4)


def test_weakest_channels_of_a_group_go(candidate: TorchCandidate) -> None:
    """The inner width of a block belongs to conv1 alone: its eight smallest filters are those that go."""
    model = copy.deepcopy(candidate.model)
    conv = model.get_submodule("blocks.0.conv1")
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        conv.weight[[1, 3, 4, 6, 9, 11, 12, 15]] *= 1e-3
    pruned = prune(TorchCandidate(model, candidate.structure), StructuredPrune(amount=0.5))
    kept = pruned.model.get_submodule("blocks.0.conv1").state_dict()["weight"]
    assert kept.shape == (8, 8, 3, 3)
    assert float(kept.abs().flatten(1).amax(dim=1).min()) > 0.01


@pytest.mark.parametrize("criterion", list(CRITERIA))
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_extreme_amount_empties_no_layer(candidate: TorchCandidate, criterion: CriterionName, scope: str) -> None:
    spec = StructuredPrune.model_validate(
        {"amount": 0.99, "criterion": criterion, "scope": scope, "round_to": 8, "min_channels": 2}
    )
    pruned = prune(candidate, spec, tiny_data(n_samples=60))
    widths = [m.out_channels for m in pruned.model.modules() if isinstance(m, nn.Conv2d)]
    assert min(widths) >= 2
    assert pruned.model(torch.zeros(1, 1, 8, 8)).shape == (1, 4)


def test_record_names_changes_and_the_output_layer_as_skipped(candidate: TorchCandidate) -> None:
    record = prune(candidate, StructuredPrune(amount=0.5)).history[-1]
    changes = {change.layer: (change.n_in, change.n_out) for change in record.changes}
    assert changes["stem"] == ((1, 1), (16, 8))
    assert changes["head"] == ((32, 16), (4, 4))
    assert [(skip.layer, skip.reason) for skip in record.skipped] == [("head", "output layer: one channel per class")]
    assert record.after.n_parameters < record.before.n_parameters / 3


def test_nothing_left_to_prune_is_refused(candidate: TorchCandidate) -> None:
    with pytest.raises(PassRefused) as caught:
        prune(candidate, StructuredPrune(amount=0.5, min_channels=1024))
    assert caught.value.code == "nothing_to_prune"


def test_layers_may_have_shares_of_their_own(candidate: TorchCandidate) -> None:
    """The stem and blocks.0.conv2 are added, so that they lose the same channels: the milder share counts for both."""
    amounts = {"blocks.0.conv1": 0.0, "stem": 0.75, "blocks.0.conv2": 0.25}
    model = prune(candidate, StructuredPrune(amount=0.5, round_to=4, amounts=amounts)).model
    widths = {name: m.out_channels for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert widths == {
        "stem": 12,
        "blocks.0.conv1": 16,
        "blocks.0.conv2": 12,
        "blocks.1.conv1": 16,
        "blocks.1.conv2": 16,
        "blocks.1.shortcut.0": 16,
    }


def test_share_of_a_layer_that_has_no_channels_to_lose_is_refused(candidate: TorchCandidate) -> None:
    with pytest.raises(PassRefused) as caught:
        prune(candidate, StructuredPrune(amount=0.5, amounts={"tail": 0.25}))
    assert caught.value.code == "layer_unknown"


def test_quantized_candidate_is_refused(candidate: TorchCandidate, data: DataSet) -> None:
    quantized = apply(Quantize(), candidate, Context(data, seed=0))
    with pytest.raises(PassRefused) as caught:
        apply(StructuredPrune(amount=0.5), quantized, Context(data, seed=0))
    assert caught.value.code == "prune_after_quantize"


def test_onnx_graph_is_refused_with_a_reason(onnx_candidate: OnnxCandidate) -> None:
    with pytest.raises(PassRefused, match="torch model") as caught:
        apply(StructuredPrune(amount=0.5), onnx_candidate, Context(None, seed=0))
    assert caught.value.code == "needs_torch_model"


@given(
    n=st.integers(1, 512),
    share=st.floats(0.0, 1.0),
    round_to=st.sampled_from([1, 2, 4, 8, 16]),
    min_channels=st.integers(1, 64),
)
def test_kept_channels_stay_within_bounds_and_on_the_grid(
    n: int, share: float, round_to: int, min_channels: int
) -> None:
    kept = kept_channels(n, n_wanted=n * share, round_to=round_to, min_channels=min_channels)
    assert min(n, min_channels) <= kept <= n
    if round_to <= n * share <= n - round_to and n * share >= min_channels + round_to:
        assert kept % round_to == 0


@pytest.mark.parametrize(
    ("n", "n_wanted", "round_to", "kept"),
    [
        (64, 40.0, 32, 32),
        (64, 20.0, 32, 32),
        (32, 11.0, 32, 16),
        (16, 11.0, 32, 8),
        (16, 5.0, 32, 8),
        (16, 5.0, 8, 8),
        (12, 3.0, 8, 3),
        (24, 7.0, 12, 12),
    ],
)
def test_narrow_layers_keep_to_a_part_of_the_multiple(n: int, n_wanted: float, round_to: int, kept: int) -> None:
    """32, then 16, then 8: never below 8, and an odd multiple only as it is."""
    assert kept_channels(n, n_wanted=n_wanted, round_to=round_to, min_channels=1) == kept


def test_unset_multiple_is_eight_without_a_target(candidate: TorchCandidate) -> None:
    free, fixed = (prune(candidate, StructuredPrune(amount=0.4, round_to=round_to)) for round_to in (None, 8))
    assert free.structure.layers == fixed.structure.layers


def test_hidden_neurons_of_a_perceptron_go() -> None:
    """Hidden widths 32 and 16 become 16 and 8; inputs and classes stay."""
    made = prune(new_candidate("mlp", {"hidden": [32, 16]}, tiny_data(), seed=0), StructuredPrune(amount=0.5))
    shapes = [(m.in_features, m.out_features) for m in made.model.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(64, 16), (16, 8), (8, 4)]


def test_random_takes_channels_of_every_layer_in_a_global_ranking_whatever_their_weights() -> None:
    """64 neurons of 4,096 weights and 64 of 64: sums of so many draws differ by so little that the first would all stay."""
    split = Split({"x": np.zeros((4, 4096), np.float32)}, np.arange(4))
    network = new_candidate("mlp", {"hidden": [64, 64]}, DataSet("flat", split, split, split), seed=0)

    spec = StructuredPrune(amount=0.2, criterion="random", scope="global", round_to=1)
    kept = [shape.n_out for shape in prune(network, spec).structure.layers.values()][:2]

    assert sum(kept) == 128 - round(0.2 * 128)
    assert max(kept) < 60


@pytest.mark.parametrize(
    ("structures", "widths"),
    [
        (("heads",), {"attention.query": 8, "attention.out": 16, "up": 32}),
        (("feed_forward",), {"attention.query": 16, "attention.out": 16, "up": 16}),
    ],
)
def test_heads_or_feed_forward_alone_go(structures: tuple[str, ...], widths: dict[str, int]) -> None:
    """Four heads of width 4, feed-forward width 32, half of what is asked for."""
    spec = StructuredPrune.model_validate({"amount": 0.5, "structures": structures})
    made = prune(tiny_text_candidate(), spec)
    assert {name: made.structure.layers[f"layers.0.{name}"].n_out for name in widths} == widths
    reasons = {skip.reason for skip in made.history[-1].skipped if skip.layer != "head"}
    assert reasons == {"structures has no feed_forward" if structures == ("heads",) else "structures has no heads"}


@pytest.mark.parametrize(
    ("structure", "narrowed"), [("channels", {"features.0"}), ("neurons", {"hidden.0", "hidden.3"})]
)
def test_channels_or_neurons_alone_go(structure: str, narrowed: set[str]) -> None:
    """A VGG with two hidden linear layers of 16 neurons."""
    arguments = {"widths": [16] * 5, "blocks": [1] * 5, "head": "imagenet", "hidden": 16, "pooled_side": 1}
    data = tiny_data(n_samples=8)
    whole = new_candidate("vgg", arguments, wide(data), seed=0)
    made = prune(whole, StructuredPrune.model_validate({"amount": 0.5, "structures": [structure]}))
    found = {change.layer for change in made.history[-1].changes if change.n_out[0] != change.n_out[1]}
    assert narrowed <= found
    assert all(name.startswith("features" if structure == "channels" else "hidden") for name in found)


def wide(data: DataSet) -> DataSet:
    """Images of 32 x 32."""
    splits = (
        Split({"x": split.x.repeat(4, axis=2).repeat(4, axis=3)}, split.y)
        for split in (data.train, data.validation, data.test)
    )
    return DataSet("wide", *splits)


def test_structure_that_the_network_has_none_of_is_refused(candidate: TorchCandidate) -> None:
    with pytest.raises(PassRefused) as caught:
        prune(candidate, StructuredPrune.model_validate({"amount": 0.5, "structures": ["heads"]}))
    assert caught.value.code == "nothing_to_prune"


def test_whole_heads_go_and_the_scores_decide_which() -> None:
    """Head 2 of 4 (rows 8..11 of 16) has the smallest weights; a quarter of the heads is one."""
    candidate = tiny_text_candidate()
    names = [f"layers.0.attention.{part}" for part in ("query", "key", "value")]
    with torch.no_grad():
        for name in names:
            candidate.model.get_parameter(f"{name}.weight")[8:12] *= 1e-3
    kept = [row for row in range(16) if not 8 <= row < 12]
    made = apply(StructuredPrune(amount=0.25, round_to=1, min_channels=1), candidate, Context(None, seed=0))
    assert isinstance(made, TorchCandidate)
    for name in names:
        before, after = (item.model.get_parameter(f"{name}.weight") for item in (candidate, made))
        assert torch.equal(after, before[kept])
    joined = made.model.get_parameter("layers.0.attention.out.weight")
    assert torch.equal(joined, candidate.model.get_parameter("layers.0.attention.out.weight")[:, kept])
    assert made.model.get_parameter("layers.0.up.weight").shape == (24, 16)
    assert made.structure.layers["head"].n_in == 16


def test_layers_of_an_encoder_that_cannot_be_narrowed_are_named() -> None:
    made = apply(StructuredPrune(amount=0.5), tiny_text_candidate(), Context(None, seed=0))
    skipped = {skip.layer for skip in made.history[-1].skipped}
    assert skipped == {"head"}


def test_at_least_one_head_stays() -> None:
    made = apply(StructuredPrune(amount=0.99, round_to=1, min_channels=1), tiny_text_candidate(), Context(None, seed=0))
    assert isinstance(made, TorchCandidate)
    assert made.structure.layers["layers.0.attention.query"].n_out == 4


def test_factorised_encoder_keeps_its_heads_and_says_why() -> None:
    split = apply(LowRank(energy=0.3, layers=("linear",)), tiny_text_candidate(), Context(None, seed=0))
    with pytest.raises(PassRefused) as caught:
        apply(StructuredPrune(amount=0.5, round_to=1, min_channels=1), split, Context(None, seed=0))
    assert caught.value.code == "nothing_to_prune"
    reasons = {skip["reason"] for skip in caught.value.detail["skipped"]}
    assert "was split into two layers by low_rank" in reasons
