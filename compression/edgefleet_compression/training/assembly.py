"""Makes the ingredients of a training from its spec."""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.criteria import LossOf
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.layers import output_layers, read_layers
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.models.specs import parse_arguments
from edgefleet_compression.passes.specs import Distill, FakeQuant, Sparsify, Train
from edgefleet_compression.quantization.calibration import calibration_samples
from edgefleet_compression.structure import Structure
from edgefleet_compression.teachers import Classroom, make_teacher
from edgefleet_compression.training.distill import DistillIngredient
from edgefleet_compression.training.fake_quant import FakeQuantIngredient
from edgefleet_compression.training.ingredient import Batch, TrainingIngredient
from edgefleet_compression.training.loop import count_steps, train_network
from edgefleet_compression.training.sparsify import KeepZeros, SparsifyIngredient, weights_of


@dataclass(frozen=True)
class Assembly:
    """What ingredients are made of. samples: the training split as the network takes it."""

    spec: Train
    model: nn.Module
    structure: Structure
    context: Context
    data: DataSet
    samples: Tensor


@dataclass(frozen=True)
class Ingredients:
    """The ingredients of one training, by kind where their result is needed afterwards. masked: layers that keep zeros."""

    active: tuple[TrainingIngredient, ...]
    fake_quant: FakeQuantIngredient | None
    masked: tuple[str, ...]


def make_ingredients(parts: Assembly) -> Ingredients:
    """Return the ingredients in the order in which they act."""
    distill = _make_distillation(parts)
    zeros, masked = _make_zeros(parts, distill)
    fake_quant = _make_fake_quant(parts)
    active = tuple(item for item in (zeros, fake_quant, distill) if item is not None)
    return Ingredients(active, fake_quant, masked)


def _make_zeros(parts: Assembly, distill: DistillIngredient | None) -> tuple[KeepZeros | None, tuple[str, ...]]:
    spec, masked = parts.spec.ingredient(Sparsify), parts.structure.masked
    weights = weights_of(parts.model)
    if spec is None:
        return KeepZeros({name: weights[name].detach() != 0 for name in masked}) if masked else None, masked
    ingredient = SparsifyIngredient(
        spec,
        data=parts.data,
        generator=torch.Generator().manual_seed(parts.context.seed),
        spared=output_layers(read_layers(parts.model), parts.structure.task.n_classes),
        loss=_training_loss(distill) if spec.sensitivity == "training" and distill is not None else None,
    )
    return ingredient, tuple(weights)


def _training_loss(distill: DistillIngredient) -> LossOf:
    """Return the loss with its distillation part, as the training's first step has it."""

    def loss(model: nn.Module, x: Tensor, y: Tensor, indices: Tensor) -> Tensor:
        logits = model(x)
        return distill.mix_loss(F.cross_entropy(logits, y), Batch(x, y, indices, logits, 0.0, model))

    return loss


def _make_fake_quant(parts: Assembly) -> FakeQuantIngredient | None:
    spec = parts.spec.ingredient(FakeQuant)
    if spec is None:
        return None
    calibration = calibration_samples(
        parts.data, parts.structure.input, n_samples=spec.calibration.n_samples, seed=parts.context.seed
    )
    train_samples = parts.samples if parts.spec.synthesis is None else None
    return FakeQuantIngredient(
        spec,
        train_samples=train_samples,
        calibration_samples=calibration,
        augmentation=parts.spec.augmentation,
        seed=parts.context.seed,
        is_pruned_first=parts.spec.ingredient(Sparsify) is not None,
    )


def _make_distillation(parts: Assembly) -> DistillIngredient | None:
    spec, context = parts.spec.ingredient(Distill), parts.context
    if spec is None:
        return None
    if spec.teacher is None or not isinstance(context.reference, TorchCandidate):
        raise PassRefused(
            "distill has no teacher here: the recipe was not given a torch model.", code="distill_without_teacher"
        )
    room = Classroom(
        reference=copy.deepcopy(context.reference.model),
        samples=parts.samples,
        labels=torch.from_numpy(parts.data.train.y),
        samples_recur=_samples_recur(parts.spec, len(parts.samples)),
        seed=context.seed,
        compute=context.compute,
        train_larger=lambda: _train_larger(parts, spec),
    )
    return DistillIngredient(spec, make_teacher(spec, room), seed=context.seed)


def _samples_recur(spec: Train, n_samples: int) -> bool:
    """Return True if the training sees samples as they are and more than once."""
    n_seen = count_steps(spec.budget, n_samples=n_samples, batch_size=spec.batch_size) * spec.batch_size
    return spec.augmentation == "none" and n_seen > n_samples


def _train_larger(parts: Assembly, distill: Distill) -> nn.Module:
    """Return a wider network of the candidate's family, trained on the labels alone."""
    structure, train = parts.structure, parts.spec
    arguments = parse_arguments(structure.architecture, structure.arguments).scaled(
        width_ratio=distill.teacher_width_ratio, depth_ratio=1.0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parts.context.seed)
        model = build_model(structure.architecture, arguments.model_dump(mode="json"))
    budget = distill.teacher_budget or train.budget
    alone = train.model_copy(update={"budget": budget, "ingredients": (), "student": None})
    folder = parts.context.checkpoints
    trained = train_network(
        model,
        alone,
        parts.data,
        ingredients=(),
        generator=torch.Generator().manual_seed(parts.context.seed),
        emit=no_progress,
        checkpoints=None if folder is None else folder.sub("teacher"),
        compute=parts.context.compute,
    )
    return trained.model
