"""Carry out a recipe: its passes in order, each with its own seed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgefleet_compression.candidate import Candidate, OnnxCandidate, TorchCandidate
from edgefleet_compression.child import Emit, is_out_of_memory
from edgefleet_compression.context import CHECKPOINT_EVERY_STEPS, Context, no_progress
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.errors import CompressionError, ResourceExhausted
from edgefleet_compression.passes import (
    cast,
    lottery_ticket,
    low_rank,
    prune_weights,
    quantize,
    remove_blocks,
    structured_prune,
    train,
)  # they register themselves with apply
from edgefleet_compression.passes.dispatch import apply
from edgefleet_compression.passes.finished import FinishedPasses
from edgefleet_compression.passes.foresight import foresee
from edgefleet_compression.passes.specs import AnyPass, Cast, Quantize
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.records import StepRecord
from edgefleet_compression.training.compute import Compute
from edgefleet_compression.training.loop import CPU

if TYPE_CHECKING:
    from edgefleet_compression.conversion.convert import Conversion

__all__ = ["RecipeOutcome", "apply", "pass_seed", "run_recipe"]

_REGISTERED: Final = (cast, lottery_ticket, low_rank, prune_weights, quantize, remove_blocks, structured_prune, train)


NOT_FINISHED: Final = "recipe_not_finished"
"""Note: a later pass of the recipe failed; this is what the passes before it made."""

KeepPartial = Callable[[CompressionError, Candidate], None]
"""Takes the error that stopped a recipe and the labelled candidate that its finished passes made."""


def drop_partial(failure: CompressionError, candidate: Candidate) -> None:
    """Keep nothing."""


@dataclass(frozen=True)
class RecipeOutcome:
    """The candidate a recipe made, the records of this recipe's passes, and stable notes."""

    candidate: Candidate
    records: tuple[StepRecord, ...]
    notes: tuple[str, ...]
    conversion_difference: float | None = None
    """Of an ONNX file that was converted: largest difference from onnxruntime's outputs, as a share of the largest."""


def pass_seed(seed: int, index: int) -> int:
    """Return the seed of the pass at this position: the same whatever follows it, so that prefixes can be shared."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big") % 2**31


def run_recipe(
    recipe: Recipe,
    candidate: Candidate,
    *,
    data: DataSet | None,
    seed: int,
    emit: Emit = no_progress,
    checkpoint_dir: Path | None = None,
    checkpoint_every_steps: int = CHECKPOINT_EVERY_STEPS,
    compute: Compute = CPU,
    keep_partial: KeepPartial = drop_partial,
) -> RecipeOutcome:
    """Return what the recipe makes of the candidate, which is itself left as it is.

    Raises what a pass raises, ResourceExhausted where memory ran out; ``detail`` then has ``pass`` and ``kind``. What can be
    known beforehand is raised before the first pass (``foresight``). ``keep_partial``: is given what the passes before made.

    ``checkpoint_dir``: where finished passes and trainings under way are kept. A run that was killed and is begun again with
    the same folder goes on from there, and makes the same candidate. The caller removes the folder.
    """
    conversion = _converted(recipe, candidate)
    candidate = conversion.candidate if conversion else candidate
    if recipe.is_data_free:
        data = None
    if data is not None and isinstance(candidate, TorchCandidate):
        data = fit_to(candidate.structure, data)
    finished = (
        None if checkpoint_dir is None else FinishedPasses(checkpoint_dir, recipe, candidate, data, seed, compute)
    )
    n_done, current = (finished.latest() if finished else None) or (0, candidate)
    n_passes = len(recipe.passes)
    if n_done:
        emit(n_done / n_passes, f"resumed after pass {n_done} of {n_passes}", resumed_after_pass=n_done)
    elif isinstance(candidate, TorchCandidate):
        foresee(recipe.passes, candidate, data)
    for index, spec in enumerate(recipe.passes[n_done:], start=n_done):
        progress = _share_of(emit, index, n_passes, spec.kind)
        progress(0.0, "started")
        folder = finished.folder(index) if finished else None
        context = Context(data, pass_seed(seed, index), candidate, progress, folder, checkpoint_every_steps, compute)
        current = _carried_out(spec, current, context, index, keep_partial)
        if conversion and index == 0:
            current = _with_notes(current, conversion.notes)
        if finished:
            finished.keep(index, current)
    records = current.history[len(candidate.history) :]
    notes = tuple(note for record in records for note in record.notes)
    if conversion is None:
        return RecipeOutcome(current, records, tuple(dict.fromkeys(notes)))
    return RecipeOutcome(current, records, tuple(dict.fromkeys((*conversion.notes, *notes))), conversion.difference)


def _carried_out(
    spec: AnyPass, current: Candidate, context: Context, index: int, keep_partial: KeepPartial
) -> Candidate:
    """Return what the pass makes; where it fails, hand on what the passes before it made, labelled as not finished."""
    try:
        return apply(spec, current, context)
    except Exception as error:
        failure = _coded(error, spec)
        if failure is None:
            raise
        failure.detail.update({"pass": index, "kind": spec.kind})
        if index > 0:
            keep_partial(failure, _with_notes(current, (NOT_FINISHED,)))
        if failure is error:
            raise
        raise failure from error


def _coded(error: Exception, spec: AnyPass) -> CompressionError | None:
    """Return the error with its code; None for one that nobody foresaw."""
    if isinstance(error, CompressionError):
        return error
    if is_out_of_memory(error):
        return ResourceExhausted(
            f"Memory ran out in {spec.kind}: lower its batch_size, raise accumulate, or run it on a machine with more memory.",
            detail={"exception": type(error).__name__},
        )
    return None


def _converted(recipe: Recipe, candidate: Candidate) -> "Conversion | None":
    """Return the torch form of an ONNX file if a pass of the recipe needs it; PassRefused if there is none."""
    if not isinstance(candidate, OnnxCandidate) or not _needs_torch(recipe):
        return None
    from edgefleet_compression.conversion.convert import convert_onnx  # loads onnxruntime

    return convert_onnx(candidate)


def _with_notes(candidate: Candidate, notes: tuple[str, ...]) -> Candidate:
    """Return the candidate with notes in front of its last record's: there the compilers find them."""
    *earlier, last = candidate.history
    history = (*earlier, last.model_copy(update={"notes": (*notes, *last.notes)}))
    if isinstance(candidate, OnnxCandidate):
        return OnnxCandidate(candidate.model, candidate.plan, history)
    return TorchCandidate(candidate.model, candidate.structure.model_copy(update={"history": history}))


def _needs_torch(recipe: Recipe) -> bool:
    takes_onnx = (
        isinstance(spec, Cast) or (isinstance(spec, Quantize) and not spec.needs_torch) for spec in recipe.passes
    )
    return not all(takes_onnx)


def _share_of(emit: Emit, index: int, n_passes: int, kind: str) -> Emit:
    """Return a progress channel whose 0..1 is this pass's share of the recipe."""

    def report(fraction: float, message: str, **detail: Any) -> None:
        emit((index + fraction) / n_passes, f"{kind}: {message}", **{"pass": index, "kind": kind, **detail})

    return report
