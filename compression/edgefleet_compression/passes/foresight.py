"""What a recipe will be refused for, found before time is spent on training.

Passes are tried on the candidate's shapes: what depends on data or on trained weights alone is left to the pass itself.
"""

import copy
from collections.abc import Sequence
from typing import Final

import torch

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet, require_labels
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.integer_program import refuse_impossible_budget
from edgefleet_compression.passes.dispatch import apply
from edgefleet_compression.passes.specs import (
    AnyPass,
    FakeQuant,
    LotteryTicket,
    LowRank,
    Quantize,
    RemoveBlocks,
    StructuredPrune,
    Train,
)
from edgefleet_compression.passes.train import build_student
from edgefleet_compression.quantization.allocation import costs_of
from edgefleet_compression.quantization.graph import fold_batchnorm
from edgefleet_compression.quantization.sensitivity import weighted_layers

_OF_WEIGHTS: Final = frozenset({"nothing_to_factorise"})
"""Refusals that training may still turn into success."""


def foresee(passes: Sequence[AnyPass], candidate: TorchCandidate, data: DataSet | None) -> None:
    """Raise what a pass behind a training would be refused with: PassRefused, or DataInvalid where labels are missing.

    Does nothing where no training comes before another pass. The candidate is left as it is.
    """
    if not any(isinstance(spec, Train | LotteryTicket) for spec in passes):
        return
    with torch.random.fork_rng(devices=[]):
        current = candidate
        for spec in passes:
            if (isinstance(spec, Train) and spec.synthesis is None) or isinstance(spec, LotteryTicket):
                require_labels(data, spec.kind)
            current = _tried(spec, current)


def _tried(spec: AnyPass, candidate: TorchCandidate) -> TorchCandidate:
    """Return the candidate in the shape that the pass gives it, its weights anything."""
    if isinstance(spec, StructuredPrune | RemoveBlocks):
        return _applied(spec.model_copy(update={"criterion": "random"}), candidate)
    if isinstance(spec, LowRank):
        return _applied(spec, candidate)
    if isinstance(spec, Train) and spec.student is not None:
        return TorchCandidate(*build_student(spec.student, candidate.structure, seed=0))
    if isinstance(spec, Train) and spec.ingredient(FakeQuant) is not None and candidate.structure.precision == "fp32":
        fold_batchnorm(copy.deepcopy(candidate.model))
    if isinstance(spec, Quantize):
        _try_quantizing(spec, candidate)
    return candidate


def _applied(spec: AnyPass, candidate: TorchCandidate) -> TorchCandidate:
    try:
        made = apply(spec, candidate, Context(None, seed=0))
    except PassRefused as refusal:
        if refusal.code in _OF_WEIGHTS:
            return candidate
        raise
    assert isinstance(made, TorchCandidate)
    return made


def _try_quantizing(spec: Quantize, candidate: TorchCandidate) -> None:
    if not spec.is_simulated or candidate.structure.precision != "fp32":
        return
    network = fold_batchnorm(copy.deepcopy(candidate.model))
    if spec.allocation is not None:
        layers = {name: (layer.weight.numel(), len(layer.weight)) for name, layer in weighted_layers(network).items()}
        refuse_impossible_budget(costs_of(spec.allocation, layers), spec.allocation.budget)
