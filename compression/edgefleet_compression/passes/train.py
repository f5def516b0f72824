"""The one pass that trains: candidate or student, with the spec's ingredients."""

import torch
from torch import fx, nn

from edgefleet_compression.candidate import Candidate, TorchCandidate
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.data.dataset import DataSet, require_labels
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.datafree.samples import default_formats, synthetic_data
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import as_tensor, evaluate
from edgefleet_compression.layers import read_layers
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.models.specs import Arguments, input_arguments, parse_arguments
from edgefleet_compression.models.specs.named import architecture_of, fitted_arguments
from edgefleet_compression.passes.batchnorm import BATCHNORM_REESTIMATED
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import FakeQuant, Student, Train
from edgefleet_compression.quantization.calibration import fix_ranges_
from edgefleet_compression.quantization.graph import list_points, snap_biases_
from edgefleet_compression.quantization.modules import settle_weights_
from edgefleet_compression.structure import QuantizationPlan, Structure
from edgefleet_compression.training.assembly import Assembly, Ingredients, make_ingredients
from edgefleet_compression.training.batchnorm import reestimate_batchnorm_
from edgefleet_compression.training.loop import train_network


@apply.register
def _(spec: Train, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _train(spec, model, structure, context))


def build_student(spec: Student, structure: Structure, *, seed: int) -> tuple[nn.Module, Structure]:
    """Return a new network with random weights of the seed, and its structure."""
    if spec.architecture is not None:
        architecture = architecture_of(spec.architecture)
        follow = input_arguments(architecture, structure.input.shape, n_values=structure.input.n_values or 0)
        given = spec.arguments or {}
        wanted = fitted_arguments(spec.architecture, given, follow, n_classes=structure.task.n_classes)
        arguments = parse_arguments(architecture, wanted)
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
    _require_same_input(architecture, arguments, structure)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(architecture, document)
    changes = {
        "architecture": architecture,
        "arguments": document,
        "layers": read_layers(model),
        "removed": (),
        "factorised": {},
        "masked": (),
    }
    return model, structure.model_copy(update=changes)


def _require_same_input(architecture: str, arguments: Arguments, structure: Structure) -> None:
    found = (arguments.input_type, arguments.n_values)
    if not arguments.accepts(structure.input.shape) or found != (structure.input.dtype, structure.input.n_values):
        raise PassRefused(
            f"The student {architecture} takes {arguments.describe_input()}, the model {structure.input.dtype} of shape "
            f"{list(structure.input.shape)}: change the student's arguments.",
            code="student_input_mismatch",
        )


def _train(spec: Train, model: nn.Module, structure: Structure, context: Context) -> Outcome:
    data = _training_data(spec, model, structure, context)
    if spec.ingredient(FakeQuant) is None or not structure.is_simulated:
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
    ingredients = make_ingredients(Assembly(spec, model, structure, context, data, samples))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)  # dropout draws from torch's own generator
        trained = train_network(
            model,
            spec,
            data,
            ingredients=ingredients.active,
            generator=torch.Generator().manual_seed(context.seed),
            emit=context.emit,
            checkpoints=context.checkpoints,
            compute=context.compute,
        )
    fix_ranges_(trained.model)
    settle_weights_(trained.model)
    if isinstance(trained.model, fx.GraphModule):
        snap_biases_(trained.model)
    # the statistics that images were made from are better than those of the images
    is_reestimated = spec.synthesis is None and reestimate_batchnorm_(
        trained.model, samples, augmentation=spec.augmentation, seed=context.seed
    )
    if ingredients.fake_quant is not None:
        is_reestimated = ingredients.fake_quant.is_reestimated
    found = evaluate(trained.model, data.validation)
    return Outcome(
        model=trained.model,
        structure=_updated(structure, trained.model, spec, ingredients),
        steps=trained.n_steps,
        samples=trained.n_samples,
        skipped=ingredients.fake_quant.skipped if ingredients.fake_quant else (),
        notes=(BATCHNORM_REESTIMATED,) if is_reestimated else (),
        metrics={
            "validation_accuracy": found.accuracy,
            "validation_loss": found.loss,
            "best_step": float(trained.best.step),
        },
        curve=trained.epochs,
        earlier_s=trained.earlier_s,
    )


def _training_data(spec: Train, model: nn.Module, structure: Structure, context: Context) -> DataSet:
    if spec.synthesis is None:
        return fit_to(structure, require_labels(context.data, "train"))
    reference = context.reference
    source = reference.model if isinstance(reference, TorchCandidate) else model
    rounding = spec.ingredient(FakeQuant)
    formats = default_formats() if rounding is None else (rounding.weights, rounding.activations)
    return synthetic_data(source, structure, spec.synthesis, formats=formats, seed=context.seed, emit=no_progress)


def _updated(structure: Structure, model: nn.Module, spec: Train, ingredients: Ingredients) -> Structure:
    changes: dict[str, object] = {"masked": ingredients.masked}
    quant_spec = spec.ingredient(FakeQuant)
    earlier = structure.quantization
    if quant_spec is not None and earlier is not None:  # training went on with the candidate's own formats
        changes["quantization"] = earlier.model_copy(update={"method": "quantization_aware"})
    elif quant_spec is not None:
        changes["quantization"] = QuantizationPlan(
            method="quantization_aware",
            weights=quant_spec.weights,
            activations=quant_spec.activations,
            points=tuple(list_points(model)),
        )
    return structure.model_copy(update=changes)
