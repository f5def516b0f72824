"""Whose statistics BatchNorm has after a recipe: its own where nothing changed, else those of images as training shows them."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.passes.application import apply, run_recipe
from edgefleet_compression.passes.specs import (
    AnyPass,
    Augmentation,
    Budget,
    FakeQuant,
    LotteryTicket,
    LowRank,
    PruneWeights,
    Quantize,
    Sparsify,
    StructuredPrune,
    Train,
)
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.quantization.graph import fold_batchnorm
from edgefleet_compression.testing import tiny_candidate
from edgefleet_compression.training.augmentation import crop_and_flip
from edgefleet_compression.training.batchnorm import augmentation_of, reestimate_batchnorm_

CHANGING: dict[str, AnyPass] = {
    "channels": StructuredPrune(amount=0.5),
    "weights": PruneWeights(amount=0.5),
    "low_rank": LowRank(energy=0.5),
}


def seen(augmentation: Augmentation, data: DataSet) -> TorchCandidate:
    """An untrained network with the statistics of the training images, as they are or moved."""
    candidate = tiny_candidate()
    reestimate_batchnorm_(candidate.model, torch.from_numpy(data.train.x), augmentation=augmentation, seed=5)
    return candidate


def stem_mean(model: nn.Module, images: torch.Tensor) -> npt.NDArray[np.float32]:
    """By numpy from the stem's outputs."""
    with torch.no_grad():
        outputs = model.get_submodule("stem")(images).numpy()
    found: npt.NDArray[np.float32] = outputs.mean(axis=(0, 2, 3))
    return found


def mean_of(model: nn.Module) -> npt.NDArray[np.float32]:
    kept: npt.NDArray[np.float32] = model.state_dict()["stem_bn.running_mean"].numpy()
    return kept


@pytest.mark.parametrize("name", ["baseline", "fp16", "int8-weights", "int8-dynamic"])
def test_network_whose_weights_nothing_changed_is_left_alone(name: str, data: DataSet) -> None:
    candidate = seen("crop_flip", data)
    outcome = run_recipe(PRESETS[name], candidate, data=data, seed=0)
    assert isinstance(outcome.candidate, TorchCandidate)
    found = outcome.candidate.model.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in candidate.model.state_dict().items())
    assert "batchnorm_reestimated" not in outcome.notes


def test_integers_of_an_unchanged_network_are_folded_from_its_own_statistics(data: DataSet) -> None:
    candidate = seen("crop_flip", data)
    made = apply(Quantize(), candidate, Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    wanted = fold_batchnorm(candidate.model).get_submodule("stem").bias
    state = made.model.state_dict()
    step = state["fq_x.scale"] * state["stem.weight_scale"]
    assert isinstance(wanted, torch.Tensor)
    assert float(((made.model.get_parameter("stem.bias") - wanted).abs() / step).max()) < 0.51


@pytest.mark.parametrize("name", list(CHANGING))
def test_pass_that_changes_weights_makes_statistics_anew(name: str, data: DataSet) -> None:
    made = apply(CHANGING[name], seen("none", data), Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    assert made.history[-1].notes == ("batchnorm_reestimated",)
    wanted = stem_mean(made.model, torch.from_numpy(data.train.x))
    np.testing.assert_allclose(mean_of(made.model), wanted, rtol=1e-4, atol=1e-5)


def test_without_data_statistics_stay_and_the_record_says_so(data: DataSet) -> None:
    record = apply(StructuredPrune(amount=0.5), seen("none", data), Context(None, seed=0)).history[-1]
    assert record.notes == ("batchnorm_kept_no_data",)


@pytest.mark.parametrize("augmentation", ["none", "crop_flip"])
def test_statistics_tell_whether_a_network_saw_moved_images(augmentation: Augmentation, data: DataSet) -> None:
    assert augmentation_of(seen(augmentation, data).model, torch.from_numpy(data.train.x)) == augmentation


def test_pruned_network_keeps_to_the_kind_of_images_it_was_trained_on(data: DataSet) -> None:
    made = apply(StructuredPrune(amount=0.5), seen("crop_flip", data), Context(data, seed=7))
    assert isinstance(made, TorchCandidate)
    moved = crop_and_flip(torch.from_numpy(data.train.x), torch.Generator().manual_seed(7))
    np.testing.assert_allclose(mean_of(made.model), stem_mean(made.model, moved), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        Train(budget=Budget(steps=3), augmentation="crop_flip"),
        LotteryTicket(amount=0.5, rounds=1, budget=Budget(steps=2), augmentation="crop_flip"),
    ],
    ids=["train", "lottery_ticket"],
)
def test_trained_network_has_the_statistics_of_its_own_augmentation(spec: AnyPass, data: DataSet) -> None:
    made = apply(spec, tiny_candidate(), Context(data, seed=7))
    assert isinstance(made, TorchCandidate)
    images = torch.from_numpy(data.train.x)
    moved = crop_and_flip(images, torch.Generator().manual_seed(7))
    np.testing.assert_allclose(mean_of(made.model), stem_mean(made.model, moved), rtol=1e-4, atol=1e-5)
    assert not np.allclose(mean_of(made.model), stem_mean(made.model, images), rtol=1e-4, atol=1e-5)


def test_rounding_from_the_first_step_folds_the_statistics_that_were_given(data: DataSet) -> None:
    first = Train(budget=Budget(steps=1), ingredients=(FakeQuant(start_fraction=0.0),))
    later = Train(budget=Budget(steps=2), ingredients=(FakeQuant(start_fraction=0.5),))
    pruned = Train(
        budget=Budget(steps=2),
        ingredients=(
            FakeQuant(start_fraction=0.0),
            Sparsify(amount=0.5, schedule="one_shot", start_fraction=0.0, end_fraction=0.5),
        ),
    )
    given = seen("none", data)
    notes = [apply(spec, given, Context(data, seed=0)).history[-1].notes for spec in (first, later, pruned)]
    assert notes == [(), ("batchnorm_reestimated",), ("batchnorm_reestimated",)]
    fresh = apply(first, tiny_candidate(), Context(data, seed=0)).history[-1]
    assert fresh.notes == ("batchnorm_reestimated",)
