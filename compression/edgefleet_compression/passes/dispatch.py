"""``apply(spec, candidate, context) -> candidate``: one function for all passes, chosen by the spec's type."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

from torch import nn

from edgefleet_compression.candidate import Candidate, TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.batchnorm import settle_batchnorm_
from edgefleet_compression.passes.specs import AnyPass
from edgefleet_compression.records import Cost, Epoch, LayerChange, Skip, StepRecord
from edgefleet_compression.stats import count_network
from edgefleet_compression.structure import Structure


@singledispatch
def apply(spec: Any, candidate: Candidate, context: Context) -> Candidate:  # noqa: ARG001 - the signature of all passes
    """Return what the pass makes of the candidate, with one more record in its history.

    The candidate given is never changed; the only side effect is ``context.emit``. Raises PassRefused where the pass
    cannot work on this candidate, DataInvalid and TrainingFailed from within.
    """
    raise TypeError(f"no pass is registered for {type(spec).__name__}")


@dataclass(frozen=True)
class Outcome:
    """What a pass on a torch network returns; ``dispatch`` makes the record of it."""

    model: nn.Module
    structure: Structure
    weights_changed: bool = False
    """True if weights or structure changed without training: BatchNorm's statistics are then made anew."""
    steps: int = 0
    samples: int = 0
    changes: tuple[LayerChange, ...] = ()
    removed: tuple[str, ...] = ()
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    curve: tuple[Epoch, ...] = ()
    earlier_s: float = 0.0
    """Seconds of killed attempts that this one went on from."""


def apply_to_torch(
    spec: AnyPass,
    candidate: Candidate,
    context: Context,
    work: Callable[[nn.Module, Structure], Outcome],
) -> TorchCandidate:
    """Run ``work`` on a deep copy of the network and return the new candidate with the pass's record."""
    if not isinstance(candidate, TorchCandidate):
        raise PassRefused(
            f"{spec.kind} needs a torch model: a recipe converts an ONNX graph first where it can "
            "(edgefleet_compression.conversion.convert.convert_onnx).",
            code="needs_torch_model",
            detail={"kind": spec.kind},
        )
    started = time.perf_counter()
    before = count_network(candidate.model, candidate.structure.input)
    outcome = work(copy.deepcopy(candidate.model), candidate.structure)
    notes = outcome.notes
    if outcome.weights_changed:
        notes += settle_batchnorm_(outcome.model, candidate, context)
    record = StepRecord(
        spec=spec,
        seed=context.seed,
        cost=Cost(
            wall_s=outcome.earlier_s + time.perf_counter() - started, steps=outcome.steps, samples=outcome.samples
        ),
        before=before,
        after=count_network(outcome.model, outcome.structure.input),
        changes=outcome.changes,
        removed=outcome.removed,
        skipped=outcome.skipped,
        notes=notes,
        metrics=outcome.metrics,
        curve=outcome.curve,
    )
    history = (*candidate.history, record)
    return TorchCandidate(outcome.model.eval(), outcome.structure.model_copy(update={"history": history}))


def refuse_quantized(spec: AnyPass, structure: Structure, *, code: str) -> None:
    """Raise PassRefused if the candidate's number format is chosen already."""
    if structure.precision != "fp32":
        raise PassRefused(
            f"{spec.kind} cannot work on a candidate that is {structure.precision} already: give it the float model instead.",
            code=code,
        )
