"""The tasks of the compression step that need torch."""

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch

from edgefleet_compression.analysis import analyze as run_analysis
from edgefleet_compression.analysis import analyze_graph
from edgefleet_compression.candidate import Candidate, TorchCandidate, file_name, load_candidate, save_candidate
from edgefleet_compression.child import Emit
from edgefleet_compression.context import Context
from edgefleet_compression.conversion.convert import convert_onnx
from edgefleet_compression.data.dataset import Array, DataSet, require_labels
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.data.registry import load_data
from edgefleet_compression.errors import CompressionError, PassRefused
from edgefleet_compression.evaluate import as_tensor, evaluate, predict_logits
from edgefleet_compression.layers import read_layers
from edgefleet_compression.metrics import classification_metrics
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.models.specs import check_input_shape, input_arguments, parse_arguments
from edgefleet_compression.models.specs.named import architecture_of, fitted_arguments
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.application import RecipeOutcome, apply, pass_seed, run_recipe
from edgefleet_compression.passes.specs import Budget, LearningRateSchedule, Optimizer, Train
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.recipe import parse_recipe
from edgefleet_compression.records import Stats
from edgefleet_compression.requests import AnalyzeRequest, CompressRequest, TrainModelRequest
from edgefleet_compression.stats import count_network, count_parameters
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec
from edgefleet_compression.training.compute import Compute, choose_device

BASELINE_OPTIMIZER: Final = Optimizer(name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4)
TEXT_OPTIMIZER: Final = Optimizer(name="adamw", lr=3e-3, weight_decay=0.01)
"""For token ids: plain SGD hardly moves small transformers."""
BASELINE_SCHEDULE: Final = LearningRateSchedule(name="cosine", warmup_fraction=0.1)


def train_model(request: TrainModelRequest, emit: Emit) -> dict[str, Any]:
    """Train a new network; the test split is looked at once, after the choice on validation."""
    set_deterministic(request.threads)
    data = require_labels(load_data(request.data), "train_model")
    untrained = new_candidate(request.architecture, request.arguments, data, seed=request.seed)
    data = fit_to(untrained.structure, data)
    optimizer = TEXT_OPTIMIZER if untrained.structure.input.dtype == "int64" else BASELINE_OPTIMIZER
    spec = Train(budget=Budget(epochs=request.epochs), optimizer=optimizer, lr_schedule=BASELINE_SCHEDULE)
    trained = apply(spec, untrained, Context(data, pass_seed(request.seed, 0), None, emit))
    assert isinstance(trained, TorchCandidate)
    save_candidate(trained, request.output_dir / file_name(trained))
    return {
        "candidate": file_name(trained),
        "accuracy_validation": evaluate(trained.model, data.validation).accuracy,
        "accuracy_test": evaluate(trained.model, data.test).accuracy,
        "n_parameters": count_parameters(trained.model),
    }


def new_candidate(architecture: str, arguments: Mapping[str, Any], data: DataSet, *, seed: int) -> TorchCandidate:
    """Return an untrained network that fits the data set; its weights depend on the seed alone.

    architecture: one of the zoo, or a network by name (``models.specs.named``), such as resnet-20.
    """
    shape = tuple(int(length) for length in data.train.x.shape[1:])
    name, architecture = architecture, architecture_of(architecture)
    follow = input_arguments(architecture, shape, n_values=_n_values(data.train.x))
    wanted = fitted_arguments(name, arguments, follow, n_classes=data.n_classes or 1)
    checked = parse_arguments(architecture, wanted)
    check_input_shape(architecture, checked, shape)
    document = checked.model_dump(mode="json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(architecture, document)
    structure = Structure(
        architecture=architecture,
        arguments=document,
        layers=read_layers(model),
        input=InputSpec(shape=shape, dtype=checked.input_type, n_values=checked.n_values),
        task=TaskSpec(n_classes=checked.n_classes),
    )
    return TorchCandidate(model.eval(), structure)


def _n_values(array: Array) -> int:
    """One more than the largest value of an integer array; 0 for others."""
    return int(array.max()) + 1 if array.dtype.kind in "iu" and array.size else 0


def compress(request: CompressRequest, emit: Emit) -> dict[str, Any]:
    """Carry out the recipe, save the candidate, return its records and counts."""
    started = time.perf_counter()
    set_deterministic(request.threads)
    compute = Compute(choose_device(request.device), request.arithmetic)
    recipe = parse_recipe(request.recipe)
    seed = recipe.seed if request.seed is None else request.seed
    emit(0.0, "loading the model")
    candidate = load_candidate(request.model)
    data = load_data(request.data)
    outcome = run_recipe(
        recipe,
        candidate,
        data=data,
        seed=seed,
        emit=emit,
        checkpoint_dir=request.checkpoint_dir,
        compute=compute,
        keep_partial=partial(_save_partial, request, len(recipe.passes)),
    )
    name = file_name(outcome.candidate)
    save_candidate(outcome.candidate, request.output_dir / name)
    return {
        "candidate": name,
        "records": [record.model_dump(mode="json", exclude={"curve"}) for record in outcome.records],
        "stats": _stats(outcome.candidate).model_dump(mode="json"),
        "cost_s": time.perf_counter() - started,
        "notes": list(outcome.notes),
        "history": _curves(outcome),
        "conversion_difference": outcome.conversion_difference,
        "metrics_validation": _metrics(outcome.candidate, data),
    }


def _save_partial(request: CompressRequest, n_passes: int, failure: CompressionError, candidate: Candidate) -> None:
    """Write what the finished passes made, and name it in the error."""
    name = f"partial-{file_name(candidate)}"
    save_candidate(candidate, request.output_dir / name)
    failure.detail["partial"] = {"file": name, "passes_done": failure.detail["pass"], "n_passes": n_passes}


def _metrics(candidate: Candidate, data: DataSet | None) -> dict[str, Any] | None:
    """Return the candidate's metrics on the validation split; None for a graph, or without labels."""
    if (
        not isinstance(candidate, TorchCandidate)
        or data is None
        or data.validation.y is None
        or not len(data.validation)
    ):
        return None
    logits = predict_logits(candidate.model, as_tensor(fit_to(candidate.structure, data).validation.x))
    return classification_metrics(logits.numpy(), data.validation.y).model_dump()


def analyze(request: AnalyzeRequest, emit: Emit) -> dict[str, Any]:
    """Return the analysis of a model; of an ONNX file that has no torch form, what its shapes and weights say."""
    set_deterministic(request.threads)
    recipes = [parse_recipe(document) for document in request.recipes or ()] or list(PRESETS.values())
    emit(0.0, "loading the model")
    candidate = load_candidate(request.model)
    notes: tuple[str, ...] = ()
    if not isinstance(candidate, TorchCandidate):
        try:
            conversion = convert_onnx(candidate)
        except PassRefused as refusal:
            obstacles = refusal.detail.get("obstacles") or [refusal.message]
            return analyze_graph(candidate, obstacles, recipes).model_dump(mode="json")
        candidate, notes = conversion.candidate, conversion.notes
    data = load_data(request.data)
    found = run_analysis(candidate, data, recipes=recipes, n_samples=request.n_samples, emit=emit)
    return found.model_copy(update={"notes": notes}).model_dump(mode="json")


def _curves(outcome: RecipeOutcome) -> list[dict[str, Any]]:
    """Return the epochs of every pass that trained."""
    return [
        {
            "pass": index,
            "kind": record.spec.kind,
            "epochs": [epoch.model_dump(mode="json") for epoch in record.curve],
        }
        for index, record in enumerate(outcome.records)
        if record.curve
    ]


def set_deterministic(threads: int) -> None:
    """Fix the number of threads (it decides the order of sums) and refuse kernels that are not repeatable."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # repeatable products on CUDA need it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def _stats(candidate: Candidate) -> Stats:
    if isinstance(candidate, TorchCandidate):
        return count_network(candidate.model, candidate.structure.input)
    return count_onnx_stats(candidate.model)
