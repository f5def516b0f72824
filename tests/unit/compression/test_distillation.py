"""Distillation: losses against identities of their papers, teachers against hand-made networks."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Budget, Distill, Optimizer, TeacherName, Train
from edgefleet_compression.schedules import Checkpoint
from edgefleet_compression.teachers.same_class import SameClassTeacher
from edgefleet_compression.teachers.self_teachers import BestCheckpointTeacher, EnsembleTeacher, MovingAverageTeacher
from edgefleet_compression.testing import TINY_ARGUMENTS, tiny_candidate, tiny_data
from edgefleet_compression.training.augmentation import crop_and_flip
from edgefleet_compression.training.distill import DistillIngredient
from edgefleet_compression.training.distillation_losses import attention_loss, decoupled_loss, softened_loss
from edgefleet_compression.training.features import PENULTIMATE, find_points
from edgefleet_compression.training.ingredient import Batch, Run


def test_decoupled_loss_weighted_by_the_teacher_s_doubt_is_the_plain_loss() -> None:
    """Zhao et al. 2022, equation 4: KD = TCKD + (1 - p_target of the teacher) NCKD."""
    torch.manual_seed(0)
    student, teacher, label = torch.randn(1, 5), torch.randn(1, 5), torch.tensor([3])
    doubt = 1.0 - float((teacher / 2.0).softmax(dim=1)[0, 3])

    decoupled = decoupled_loss(student, teacher, label, 2.0, non_target_weight=doubt)

    assert float(decoupled) == pytest.approx(float(softened_loss(student, teacher, 2.0)), rel=1e-5)


def test_attention_looks_at_places_not_at_channels_or_size() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 4)
    doubled = 5.0 * torch.cat([maps, maps], dim=1)

    assert float(attention_loss(maps, doubled)) == pytest.approx(0.0, abs=1e-10)
    assert float(attention_loss(maps, maps.flip(3))) > 1e-3


def network(value: float) -> nn.Linear:
    layer = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(value)
    return layer


def run_of(model: nn.Module) -> Run:
    return Run(model, Optimizer(), 10, torch.zeros(1, 1))


def batch_of(x: Tensor, model: nn.Module, y: Tensor | None = None) -> Batch:
    labels = torch.zeros(len(x), dtype=torch.int64) if y is None else y
    return Batch(x, labels, torch.arange(len(x)), model(x), 0.0, model)


def test_same_class_teacher_asks_about_samples_of_the_same_class() -> None:
    samples, labels = torch.arange(8.0)[:, None], torch.tensor([0, 1] * 4)
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)  # the answer is the sample
    teacher = SameClassTeacher(samples, labels, seed=0)

    answers = torch.cat([teacher.logits(batch_of(samples, model, labels)) for _ in range(20)], dim=1)

    assert ((answers % 2) == labels[:, None]).all()
    assert all(len(set(row.tolist())) > 1 for row in answers)
    assert not answers.requires_grad


def test_moving_average_follows_its_equation() -> None:
    teacher, run = MovingAverageTeacher(0.75), run_of(network(0.0))
    assert not teacher.is_ready
    teacher.after_step(run)
    for value in (4.0, 8.0):
        with torch.no_grad():
            next(run.model.parameters()).fill_(value)
        teacher.after_step(run)

    # 0, then 0.75 * 0 + 0.25 * 4 = 1, then 0.75 * 1 + 0.25 * 8 = 2.75
    assert float(next(teacher.networks[0].parameters()).mean()) == pytest.approx(2.75)


def test_best_checkpoint_is_that_of_the_best_epoch_looked_at() -> None:
    teacher, run = BestCheckpointTeacher(refresh_epochs=2), run_of(network(0.0))
    for epoch, accuracy in enumerate((0.9, 0.5, 0.95, 0.7, 0.8, 0.6), start=1):
        run.model = network(float(epoch))
        run.history.append(Checkpoint(epoch, 1.0, accuracy))
        teacher.after_evaluation(run)

    # epochs 2, 4 and 6 are looked at: 0.5, 0.7, 0.6
    assert float(next(teacher.networks[0].parameters()).mean()) == 4.0


def test_ensemble_answers_with_the_mean_probability_of_the_last_ones() -> None:
    teacher, run = EnsembleTeacher(refresh_epochs=1, n_checkpoints=2), run_of(network(0.0))
    weights = [torch.tensor([[3.0], [0.0]]), torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [2.0]])]
    for epoch, weight in enumerate(weights, start=1):
        run.model = network(0.0)
        run.model.load_state_dict({"weight": weight})
        run.history.append(Checkpoint(epoch, 1.0, 0.5))
        teacher.after_evaluation(run)

    answer = teacher.logits(batch_of(torch.ones(1, 1), network(0.0))).softmax(dim=1)
    expected = (torch.tensor([1.0, 0.0]).softmax(0) + torch.tensor([0.0, 2.0]).softmax(0)) / 2

    torch.testing.assert_close(answer[0], expected)


def test_temperature_runs_from_first_to_final() -> None:
    spec = Distill(teacher="fixed", temperature=8.0, final_temperature=2.0)
    ingredient = DistillIngredient(spec, MovingAverageTeacher(0.9), seed=0)

    assert [ingredient.temperature(fraction) for fraction in (0.0, 0.5, 1.0)] == [8.0, 5.0, 2.0]


def test_points_lie_at_the_ends_of_stages_whatever_the_width() -> None:
    wide, narrow = (
        build_model("resnet", {"n_classes": 4, "stem_width": width, "widths": [width, 2 * width], "blocks": [1, 1]})
        for width in (8, 16)
    )
    example = torch.zeros(1, 1, 8, 8)

    assert set(find_points(wide, example)) == set(find_points(narrow, example)) == {"8x8", PENULTIMATE}


def train(distill: Distill, **changes: Any) -> TorchCandidate:
    candidate = tiny_candidate()
    spec = Train(budget=Budget(epochs=2), ingredients=(distill,), **changes)
    made = apply(spec, candidate, Context(tiny_data(n_samples=80), seed=1, reference=candidate))
    assert isinstance(made, TorchCandidate)
    return made


@pytest.mark.parametrize("teacher", ["fixed", "larger", "same_class", "ema", "best_validation", "ensemble"])
def test_every_teacher_teaches(teacher: TeacherName) -> None:
    plain, taught = train(Distill(teacher="fixed", alpha=1e-9)), train(Distill(teacher=teacher, n_checkpoints=2))

    weights = (model.model.get_submodule("head").state_dict()["weight"] for model in (plain, taught))
    assert not torch.equal(*weights)


def test_no_hook_is_left_on_the_network() -> None:
    made = train(Distill(teacher="fixed", method="attention"))

    assert not any(module._forward_pre_hooks for module in made.model.modules())


def test_networks_without_common_features_are_refused() -> None:
    candidate = tiny_candidate()
    other = {"architecture": "resnet", "arguments": {**TINY_ARGUMENTS, "widths": [16], "blocks": [1], "n_classes": 4}}
    spec = Train.model_validate(
        {
            "budget": {"steps": 1},
            "student": other,
            "ingredients": [{"kind": "distill", "teacher": "fixed", "method": "attention"}],
        }
    )

    with pytest.raises(PassRefused) as caught:
        apply(spec, candidate, Context(tiny_data(n_samples=40), seed=1, reference=candidate))

    assert caught.value.code == "no_common_features"


def shifted_copies(image: Tensor) -> list[Tensor]:
    padded = F.pad(image, (1, 1, 1, 1))
    crops = [padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    return [*crops, *(crop.flip(2) for crop in crops)]


def test_augmented_images_are_shifted_or_mirrored_originals_and_vary() -> None:
    image = torch.arange(1.0, 129.0).view(2, 8, 8)
    made = crop_and_flip(image.expand(64, 2, 8, 8), torch.Generator().manual_seed(0))

    possible = shifted_copies(image)
    found = {next(i for i, one in enumerate(possible) if torch.equal(one, item)) for item in made}

    assert len(found) > 12


def test_parts_of_a_batch_weigh_together_as_much_as_the_whole() -> None:
    data = tiny_data(n_samples=80)
    candidate = tiny_candidate()
    whole, parts = (
        apply(
            Train(budget=Budget(steps=1), batch_size=16, accumulate=n, optimizer=Optimizer(lr=1e-3)),
            candidate,
            Context(data, seed=1),
        )
        for n in (1, 2)
    )
    assert isinstance(whole, TorchCandidate)
    assert isinstance(parts, TorchCandidate)
    weights = [made.model.get_submodule("head").state_dict()["weight"] for made in (whole, parts)]

    # BatchNorm sees other batches, so only nearly
    torch.testing.assert_close(weights[0], weights[1], atol=2e-3, rtol=0.0)
