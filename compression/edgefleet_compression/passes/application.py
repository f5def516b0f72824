"""Carry out a recipe: its passes in order, each with its own seed, BatchNorm re-estimated for every arm."""

import copy
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from edgefleet_compression.candidate import Candidate, TorchCandidate
from edgefleet_compression.child import Emit
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.evaluate import as_tensor
from edgefleet_compression.passes import (
    cast,
    lottery_ticket,
    low_rank,
    prune_weights,
    quantize,
    structured_prune,
    train,
)  # they register themselves with apply
from edgefleet_compression.passes.dispatch import apply
from edgefleet_compression.passes.quantize import BATCHNORM_REESTIMATED
from edgefleet_compression.quantization.calibration import reestimate_batchnorm_
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.records import StepRecord

__all__ = ["RecipeOutcome", "apply", "pass_seed", "run_recipe"]

_REGISTERED: Final = (cast, lottery_ticket, low_rank, prune_weights, quantize, structured_prune, train)

BATCHNORM_KEPT: Final = "batchnorm_kept_no_data"


@dataclass(frozen=True)
class RecipeOutcome:
    """The candidate a recipe made, the records of this recipe's passes, and stable notes."""

    candidate: Candidate
    records: tuple[StepRecord, ...]
    notes: tuple[str, ...]


def pass_seed(seed: int, index: int) -> int:
    """Return the seed of the pass at this position: the same whatever follows it, so that prefixes can be shared."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:4], "big") % 2**31


def run_recipe(
    recipe: Recipe, candidate: Candidate, *, data: DataSet | None, seed: int, emit: Emit = no_progress
) -> RecipeOutcome:
    """Return what the recipe makes of the candidate, which is itself left as it is."""
    if data is not None and isinstance(candidate, TorchCandidate):
        data = fit_to(candidate.structure, data)
    current = candidate
    n_passes = len(recipe.passes)
    for index, spec in enumerate(recipe.passes):
        progress = _share_of(emit, index, n_passes, spec.kind)
        progress(0.0, "started")
        current = apply(spec, current, Context(data, pass_seed(seed, index), candidate, progress))
    current, notes = _reestimated(current, data)
    records = current.history[len(candidate.history) :]
    notes += tuple(note for record in records for note in record.notes)
    return RecipeOutcome(current, records, tuple(dict.fromkeys(notes)))


def _reestimated(candidate: Candidate, data: DataSet | None) -> tuple[Candidate, tuple[str, ...]]:
    if not isinstance(candidate, TorchCandidate) or candidate.structure.is_simulated:
        return candidate, ()
    if data is None:
        return candidate, (BATCHNORM_KEPT,)
    model = copy.deepcopy(candidate.model)
    done = reestimate_batchnorm_(model, as_tensor(data.train.x))
    return TorchCandidate(model, candidate.structure), (BATCHNORM_REESTIMATED,) if done else ()


def _share_of(emit: Emit, index: int, n_passes: int, kind: str) -> Emit:
    """Return a progress channel whose 0..1 is this pass's share of the recipe."""

    def report(fraction: float, message: str, **detail: Any) -> None:
        emit((index + fraction) / n_passes, f"{kind}: {message}", **{"pass": index, "kind": kind, **detail})

    return report
