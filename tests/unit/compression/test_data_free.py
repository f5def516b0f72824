"""Calibration and training on images made from a network's BatchNorm statistics, with no look at any data."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.datafree.samples import default_formats, synthetic_data, synthetic_images
from edgefleet_compression.datafree.statistics import StatisticsLoss
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import evaluate
from edgefleet_compression.passes.application import apply, run_recipe
from edgefleet_compression.passes.specs import Budget, Quantize, Synthesis, Train
from edgefleet_compression.recipe import parse_recipe
from edgefleet_compression.testing import tiny_candidate, tiny_text_candidate

SOURCES = ["batchnorm", "generator"]
DATA_FREE = [
    {"kind": "quantize", "calibration": {"source": "batchnorm", "n_samples": 16, "synthesis_steps": 3}},
    {"kind": "quantize", "calibration": {"source": "generator", "n_samples": 16, "synthesis_steps": 3}},
    {"kind": "quantize", "calibration": {"source": "random", "n_samples": 16}},
    {
        "kind": "quantize",
        "weights": {"bits": 4},
        "activations": None,
        "rounding": "adaround",
        "rounding_steps": 2,
        "equalize": True,
        "bias_correction": True,
        "calibration": {"source": "batchnorm", "n_samples": 16, "synthesis_steps": 2},
    },
    {
        "kind": "quantize",
        "weights": {"bits": 4},
        "activations": None,
        "allocation": {"size_bytes": 14_000},
        "calibration": {"source": "batchnorm", "n_samples": 16, "synthesis_steps": 2},
    },
    {
        "kind": "train",
        "budget": {"steps": 2},
        "synthesis": {"source": "generator", "n_samples": 40, "steps": 4, "batch_size": 16},
        "ingredients": [
            {"kind": "fake_quant", "weights": {"bits": 4}, "activations": {"bits": 4}, "start_fraction": 0.0},
            {"kind": "distill", "teacher": "fixed", "alpha": 1.0},
        ],
    },
]


class Forbidden:
    """A data set that nobody may look at: every attribute but the class is an error."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return DataSet
        raise AssertionError(f"looked at {name} of the data set")

    def __len__(self) -> int:
        raise AssertionError("looked at the length of the data set")

    def __bool__(self) -> bool:
        raise AssertionError("looked at the truth of the data set")


def forbidden() -> DataSet:
    return cast(DataSet, Forbidden())


@pytest.fixture(scope="module")
def trained(data: DataSet) -> TorchCandidate:
    made = apply(Train(budget=Budget(epochs=12)), tiny_candidate(), Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


def test_the_forbidden_data_set_does_complain() -> None:
    with pytest.raises(AssertionError, match="looked at"):
        apply(Quantize(), tiny_candidate(), Context(forbidden(), seed=0))


@pytest.mark.parametrize("document", DATA_FREE, ids=lambda item: f"{item['kind']}-{len(item)}")
def test_data_free_recipe_never_touches_the_data(document: dict[str, Any]) -> None:
    recipe = parse_recipe({"name": "free", "passes": [document]})

    made = run_recipe(recipe, tiny_candidate(), data=forbidden(), seed=0).candidate
    alone = apply(recipe.passes[0], tiny_candidate(), Context(forbidden(), seed=0, reference=tiny_candidate()))

    assert made.traits.precision == alone.traits.precision
    assert made.traits.precision != "fp32"


def test_statistics_loss_is_zero_for_the_batch_that_they_were_taken_of() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, momentum=1.0)
    x = torch.randn(8, 3, 5, 5) * 2 + 1
    norm.train()(x)
    count = 8 * 5 * 5
    cast(torch.Tensor, norm.running_var).mul_((count - 1) / count)  # kept unbiased, compared biased

    with StatisticsLoss(norm.eval()) as loss:
        norm(x)
        assert float(loss.take()) == pytest.approx(0.0, abs=1e-10)
        norm(x + 1)
        assert float(loss.take()) == pytest.approx(1.0, rel=1e-4)  # every mean is off by 1


@pytest.mark.parametrize("source", SOURCES)
def test_images_come_closer_to_the_statistics_than_noise(source: str, trained: TorchCandidate) -> None:
    spec = Synthesis.model_validate({"source": source, "n_samples": 64, "steps": 40, "label_weight": 0.0})
    images = synthetic_images(
        trained.model, trained.structure, spec, formats=default_formats(), seed=0, emit=no_progress
    )

    with torch.no_grad(), StatisticsLoss(trained.model.eval()) as loss:
        trained.model(images)
        found = float(loss.take())
        trained.model(torch.randn(images.shape, generator=torch.Generator().manual_seed(1)))
        noise = float(loss.take())

    assert images.shape == (64, 1, 8, 8)
    assert found < 0.5 * noise


@pytest.mark.parametrize("source", SOURCES)
def test_same_seed_makes_the_same_images_and_leaves_the_network_alone(source: str, trained: TorchCandidate) -> None:
    spec = Synthesis.model_validate({"source": source, "n_samples": 20, "steps": 5, "batch_size": 16})
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}

    first, second = (
        synthetic_data(trained.model, trained.structure, spec, formats=default_formats(), seed=3, emit=no_progress)
        for _ in range(2)
    )

    assert first.sha256() == second.sha256()
    assert (len(first.train), len(first.validation)) == (18, 2)
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in trained.model.parameters())


def test_data_free_eight_bits_keep_the_accuracy(trained: TorchCandidate, data: DataSet) -> None:
    spec = Quantize.model_validate({"calibration": {"source": "batchnorm", "n_samples": 64, "synthesis_steps": 60}})

    made = apply(spec, trained, Context(forbidden(), seed=0))

    assert isinstance(made, TorchCandidate)
    kept, baseline = evaluate(made.model, data.test), evaluate(trained.model, data.test)
    assert baseline.accuracy > 0.8
    assert kept.accuracy >= baseline.accuracy - 0.04
    assert made.history[-1].notes == ("calibration_synthetic",)


def test_network_without_batchnorm_is_refused() -> None:
    spec = Quantize.model_validate({"calibration": {"source": "batchnorm"}})
    candidate = tiny_candidate()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    with pytest.raises(PassRefused) as caught:
        apply(spec, TorchCandidate(plain, candidate.structure), Context(None, seed=0))

    assert caught.value.code == "no_batchnorm"


def test_texts_cannot_be_made() -> None:
    spec = Quantize.model_validate({"calibration": {"source": "generator"}})

    with pytest.raises(PassRefused) as caught:
        apply(spec, tiny_text_candidate(), Context(None, seed=0))

    assert caught.value.code == "synthesis_needs_images"
