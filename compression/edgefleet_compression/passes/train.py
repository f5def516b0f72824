"""The one pass that trains: candidate or student, with the spec's ingredients."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edgefleet_compression.candidate import Candidate, TorchCandidate
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.data.dataset import DataSet, check_fits, require_labels
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import as_tensor, evaluate
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.models.specs import parse_arguments
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.quantize import BATCHNORM_REESTIMATED, calibration_samples
from edgefleet_compression.passes.specs import Distill, FakeQuant, Sparsify, Student, Train
from edgefleet_compression.quantization.calibration import fix_ranges_, reestimate_batchnorm_
from edgefleet_compression.quantization.graph import list_points, snap_biases_
from edgefleet_compression.structure import QuantizationPlan, Structure
from edgefleet_compression.teachers import Classroom, make_teacher
from edgefleet_compression.training.distill import DistillIngredient
from edgefleet_compression.training.fake_quant import FakeQuantIngredient
from edgefleet_compression.training.ingredient import TrainingIngredient
from edgefleet_compression.training.loop import train_network
from edgefleet_compression.training.sparsify import KeepZeros, SparsifyIngredient, weights_of


@apply.register
def _(spec: Train, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _train(spec, model, structure, context))


@dataclass(frozen=True)
class _Ingredients:
    """The ingredients of one training, by kind where their result is needed afterwards."""

    active: tuple[TrainingIngredient, ...]
    fake_quant: FakeQuantIngredient | None
    masked: tuple[str, ...]


def build_student(spec: Student, structure: Structure, *, seed: int) -> tuple[nn.Module, Structure]:
    """Return a new network with random weights of the seed, and its structure."""
    if spec.architecture is not None:
        architecture, arguments = spec.architecture, parse_arguments(spec.architecture, spec.arguments or {})
    else:
        architecture = structure.architecture
        arguments = parse_arguments(architecture, structure.arguments).scaled(
            width_ratio=spec.width_ratio, depth_ratio=spec.depth_ratio
        )
    document = arguments.model_dump(mode="json")
    if document.get("n_classes") != structure.task.n_classes:
        raise PassRefused(
            f"The student has {document.get('n_classes')} classes, the task {structure.task.n_classes}: set n_classes.",
            code="student_task_mismatch",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(architecture, document)
    changes = {"architecture": architecture, "arguments": document, "layers": read_layers(model), "masked": ()}
    return model, structure.model_copy(update=changes)


def _train(spec: Train, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    data = require_labels(context.data, "train")
    check_fits(data, shape=structure.input.shape, n_classes=structure.task.n_classes)
    if spec.ingredient(FakeQuant) is None or structure.simulated is None:
        refuse_quantized(spec, structure, code="train_after_quantize")
    if spec.student is not None:
        refuse_quantized(spec, structure, code="student_after_quantize")
        model, structure = build_student(spec.student, structure, seed=context.seed)
    if spec.augmentation != "none" and len(structure.input.shape) != 3:
        raise PassRefused(
            f"Augmentation {spec.augmentation} shifts images, and these samples have shape {list(structure.input.shape)}: "
            'set "augmentation": "none".',
            code="augmentation_needs_images",
        )
    samples = as_tensor(data.train.x)
    ingredients = _make_ingredients(spec, model, structure, context, data, samples)
    trained = train_network(
        model,
        spec,
        data,
        ingredients=ingredients.active,
        generator=torch.Generator().manual_seed(context.seed),
        emit=context.emit,
    )
    fix_ranges_(trained.model)
    if isinstance(trained.model, fx.GraphModule):
        snap_biases_(trained.model)
    is_reestimated = reestimate_batchnorm_(trained.model, samples)
    found = evaluate(trained.model, data.validation)
    return Outcome(
        model=trained.model,
        structure=_updated(structure, trained.model, spec, ingredients),
        steps=trained.n_steps,
        samples=trained.n_samples,
        skipped=ingredients.fake_quant.skipped if ingredients.fake_quant else (),
        notes=(BATCHNORM_REESTIMATED,) if is_reestimated or ingredients.fake_quant else (),
        metrics={
            "validation_accuracy": found.accuracy,
            "validation_loss": found.loss,
            "best_step": float(trained.best.step),
        },
    )


def _make_ingredients(
    spec: Train, model: nn.Module, structure: Structure, context: Context, data: DataSet, samples: Tensor
) -> _Ingredients:
    active: list[TrainingIngredient] = []
    masked = structure.masked
    if (sparsify := spec.ingredient(Sparsify)) is not None:
        generator = torch.Generator().manual_seed(context.seed)
        active.append(SparsifyIngredient(sparsify, data=data, generator=generator))
        masked = tuple(weights_of(model))
    elif structure.masked:
        weights = weights_of(model)
        active.append(KeepZeros({name: weights[name].detach() != 0 for name in structure.masked}))
    fake_quant: FakeQuantIngredient | None = None
    if (quant_spec := spec.ingredient(FakeQuant)) is not None:
        calibration = calibration_samples(
            data, structure.input.shape, n_samples=quant_spec.calibration.n_samples, seed=context.seed
        )
        fake_quant = FakeQuantIngredient(quant_spec, train_samples=samples, calibration_samples=calibration)
        active.append(fake_quant)
    if (distill := spec.ingredient(Distill)) is not None:
        active.append(_make_distillation(spec, distill, structure, context, data, samples))
    return _Ingredients(tuple(active), fake_quant, masked)


def _make_distillation(
    train: Train, spec: Distill, structure: Structure, context: Context, data: DataSet, samples: Tensor
) -> DistillIngredient:
    if spec.teacher is None or not isinstance(context.reference, TorchCandidate):
        raise PassRefused(
            "distill has no teacher here: the recipe was not given a torch model.", code="distill_without_teacher"
        )
    room = Classroom(
        reference=copy.deepcopy(context.reference.model),
        samples=samples if train.augmentation == "none" else None,
        train_larger=lambda: _train_larger(train, spec, structure, context, data),
    )
    return DistillIngredient(spec, make_teacher(spec, room), seed=context.seed)


def _train_larger(train: Train, spec: Distill, structure: Structure, context: Context, data: DataSet) -> nn.Module:
    """Return a wider network of the candidate's family, trained on the labels alone."""
    arguments = parse_arguments(structure.architecture, structure.arguments).scaled(
        width_ratio=spec.teacher_width_ratio, depth_ratio=1.0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        model = build_model(structure.architecture, arguments.model_dump(mode="json"))
    alone = train.model_copy(update={"budget": spec.teacher_budget or train.budget, "ingredients": (), "student": None})
    generator = torch.Generator().manual_seed(context.seed)
    return train_network(model, alone, data, ingredients=(), generator=generator, emit=no_progress).model


def _updated(structure: Structure, model: nn.Module, spec: Train, ingredients: _Ingredients) -> Structure:
    changes: dict[str, object] = {"masked": ingredients.masked}
    quant_spec = spec.ingredient(FakeQuant)
    if quant_spec is not None:
        changes["quantization"] = QuantizationPlan(
            method="quantization_aware",
            weights=quant_spec.weights,
            activations=quant_spec.activations,
            points=tuple(list_points(model)),
        )
    return structure.model_copy(update=changes)
