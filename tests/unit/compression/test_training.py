import math

import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import CompressionError, DataInvalid, PassRefused, TrainingFailed
from edgefleet_compression.evaluate import evaluate
from edgefleet_compression.passes.application import apply, run_recipe
from edgefleet_compression.passes.specs import (
    Budget,
    Distill,
    FakeQuant,
    Optimizer,
    Quantize,
    Sparsify,
    Student,
    Train,
)
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.stats import weight_sparsity
from edgefleet_compression.testing import tiny_data
from edgefleet_compression.training.distillation_losses import softened_loss
from edgefleet_compression.training.loop import count_steps
from edgefleet_compression.training.sparsify import weights_of

QUICK = Optimizer(lr=0.02)


def run(spec: Train, candidate: TorchCandidate, data: DataSet | None, *, seed: int = 0) -> TorchCandidate:
    made = apply(spec, candidate, Context(data, seed=seed, reference=candidate))
    assert isinstance(made, TorchCandidate)
    return made


def test_network_learns_the_tiny_task(candidate: TorchCandidate, data: DataSet) -> None:
    before = evaluate(candidate.model, data.validation).accuracy
    trained = run(Train(budget=Budget(epochs=10), optimizer=QUICK, batch_size=32), candidate, data)
    after = evaluate(trained.model, data.validation).accuracy
    assert after > max(before, 0.9)
    assert trained.history[-1].metrics["validation_accuracy"] == after


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_sparsity_is_exact_and_zeros_stay_zero_in_later_training(
    candidate: TorchCandidate, data: DataSet, scope: str
) -> None:
    sparsify = Sparsify.model_validate({"amount": 0.75, "scope": scope, "every_steps": 2})
    sparse = run(Train(budget=Budget(steps=20), optimizer=QUICK, ingredients=(sparsify,)), candidate, data)
    masks = {name: weight == 0 for name, weight in weights_of(sparse.model).items()}
    n_weights = sum(mask.numel() for mask in masks.values())
    n_zeros = sum(int(mask.sum()) for mask in masks.values())
    tolerance = 0.5 if scope == "global" else 0.5 * len(masks)
    assert abs(n_zeros - 0.75 * n_weights) <= tolerance
    again = run(Train(budget=Budget(steps=6), optimizer=QUICK), sparse, data)
    assert all((weights_of(again.model)[name][mask] == 0).all() for name, mask in masks.items())
    assert again.structure.masked == sparse.structure.masked


def test_sparsity_survives_folding_and_quantization(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(
        budget=Budget(steps=20),
        optimizer=QUICK,
        ingredients=(Sparsify(amount=0.5, end_fraction=0.4, every_steps=2), FakeQuant(start_fraction=0.5)),
    )
    assert weight_sparsity(run(spec, candidate, data).model) >= 0.5 - 1e-4


def test_sparsity_is_reached_even_at_the_very_end_of_the_budget(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(budget=Budget(steps=5), ingredients=(Sparsify(amount=0.6, end_fraction=1.0, every_steps=100),))
    assert weight_sparsity(run(spec, candidate, data).model) == pytest.approx(0.6, abs=1e-4)


def test_quantization_aware_training_leaves_a_quantized_candidate(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(
        budget=Budget(epochs=4), optimizer=QUICK, batch_size=32, ingredients=(FakeQuant(), Distill(teacher="fixed"))
    )
    made = run(spec, candidate, data)
    assert made.traits.precision == "int8"
    assert made.structure.quantization is not None
    assert made.structure.quantization.method == "quantization_aware"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.model.modules())


def test_quantized_candidate_trains_on_with_fake_quant_only(candidate: TorchCandidate, data: DataSet) -> None:
    quantized = apply(Quantize(), candidate, Context(data, seed=0))
    assert isinstance(quantized, TorchCandidate)
    again = run(Train(budget=Budget(steps=4), ingredients=(FakeQuant(start_fraction=0),)), quantized, data)
    assert again.traits.precision == "int8"
    with pytest.raises(PassRefused) as caught:
        run(Train(budget=Budget(steps=4)), quantized, data)
    assert caught.value.code == "train_after_quantize"


def test_student_is_a_narrower_network_of_the_same_family(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(budget=Budget(steps=4), student=Student(width_ratio=0.5), ingredients=(Distill(teacher="fixed"),))
    made = run(spec, candidate, data)
    assert made.structure.arguments["widths"] == [8, 16]
    assert made.history[-1].after.n_parameters < made.history[-1].before.n_parameters / 3


def test_explicit_student_must_have_the_task_s_classes(candidate: TorchCandidate, data: DataSet) -> None:
    student = Student(architecture="resnet", arguments={"n_classes": 7, "widths": [8], "blocks": [1]})
    with pytest.raises(PassRefused) as caught:
        run(Train(budget=Budget(steps=1), student=student), candidate, data)
    assert caught.value.code == "student_task_mismatch"


def test_student_by_name_takes_the_model_s_inputs_and_classes(candidate: TorchCandidate, data: DataSet) -> None:
    student = Student(architecture="convnet-separable", arguments={"widths": [8, 16]})
    made = run(Train(budget=Budget(steps=1), student=student), candidate, data)
    assert made.structure.architecture == "convnet"
    assert made.structure.arguments["convolution"] == "separable"
    assert made.structure.arguments["n_classes"] == candidate.structure.task.n_classes


def test_distillation_without_a_torch_reference_is_refused(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(budget=Budget(steps=1), ingredients=(Distill(teacher="fixed"),))
    with pytest.raises(PassRefused) as caught:
        apply(spec, candidate, Context(data, seed=0, reference=None))
    assert caught.value.code == "distill_without_teacher"


def test_distillation_loss_is_zero_for_equal_logits_and_kl_times_t_squared_otherwise() -> None:
    """Two classes, teacher logits (T ln 3, 0) at T: p = (3/4, 1/4); student (0, 0): q = (1/2, 1/2)."""
    temperature = 4.0
    teacher = torch.tensor([[temperature * math.log(3.0), 0.0]])
    expected = temperature**2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(softened_loss(teacher, teacher, temperature)) == pytest.approx(0.0, abs=1e-6)
    assert float(softened_loss(torch.zeros(1, 2), teacher, temperature)) == pytest.approx(expected, rel=1e-5)


def test_diverging_loss_stops_with_its_code(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(budget=Budget(steps=60), optimizer=Optimizer(lr=10.0, momentum=0.99, weight_decay=1.0))
    poisoned = TorchCandidate(candidate.model, candidate.structure)
    with torch.no_grad():
        next(poisoned.model.parameters()).fill_(float("inf"))
    with pytest.raises(TrainingFailed) as caught:
        run(spec, poisoned, data)
    assert caught.value.code == "nan_loss"


@pytest.mark.parametrize(("n_samples", "batch_size", "expected"), [(100, 32, 4), (96, 32, 3), (97, 32, 3), (10, 32, 1)])
def test_epoch_counts_every_batch_but_a_last_one_of_a_single_sample(
    n_samples: int, batch_size: int, expected: int
) -> None:
    assert count_steps(Budget(epochs=1), n_samples=n_samples, batch_size=batch_size) == expected


def test_training_takes_exactly_its_budget(candidate: TorchCandidate, data: DataSet) -> None:
    assert run(Train(budget=Budget(steps=7)), candidate, data).history[-1].cost.steps == 7


def test_training_without_data_labels_or_fitting_shapes_is_refused(candidate: TorchCandidate) -> None:
    data = tiny_data()
    unlabelled = DataSet(
        "unlabelled", *(type(split)(split.inputs, None) for split in (data.train, data.validation, data.test))
    )
    wide = DataSet(
        "wide",
        *(type(split)({"x": split.x.repeat(2, axis=2)}, split.y) for split in (data.train, data.validation, data.test)),
    )
    codes = []
    for given in (None, unlabelled, wide):
        with pytest.raises(DataInvalid) as caught:
            run(Train(budget=Budget(steps=1)), candidate, given)
        codes.append(caught.value.code)
    assert codes == ["data_missing", "labels_missing", "data_shape_mismatch"]


def test_labels_above_the_model_s_classes_are_refused(candidate: TorchCandidate) -> None:
    data = tiny_data()
    assert data.train.y is not None
    more = DataSet("more", type(data.train)(data.train.inputs, data.train.y + 1), data.validation, data.test)
    with pytest.raises(DataInvalid) as caught:
        run_recipe(Recipe(name="baseline"), candidate, data=more, seed=0)
    assert caught.value.code == "labels_out_of_range"


def test_a_failed_pass_is_a_compression_error(candidate: TorchCandidate) -> None:
    with pytest.raises(CompressionError):
        run_recipe(Recipe(name="t", passes=(Train(budget=Budget(steps=1)),)), candidate, data=None, seed=0)


def test_baseline_is_the_network_itself_with_or_without_data(candidate: TorchCandidate, data: DataSet) -> None:
    for given in (None, data):
        outcome = run_recipe(Recipe(name="baseline"), candidate, data=given, seed=0)
        assert (outcome.candidate, outcome.records, outcome.notes) == (candidate, (), ())
