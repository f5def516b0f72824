"""Low-rank factorisation of linear layers, convolutions and embeddings (``factorisation`` has the mathematics)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import nn

from edgefleet_compression.candidate import Candidate
from edgefleet_compression.context import Context
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.factorisation import Factorable, Factors, factor, fill_, forms_of, split_layer
from edgefleet_compression.layers import read_layers, replace_module_
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import LowRank
from edgefleet_compression.records import Skip
from edgefleet_compression.structure import Structure

BISECTIONS: Final = 40
"""Halvings of the interval in which the energy of a parameters_ratio is sought: far below one singular value."""


@apply.register
def _(spec: LowRank, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda model, structure: _factorise(spec, model, structure))


@dataclass(frozen=True)
class _Choice:
    """A layer's factors at the rank that was chosen."""

    name: str
    factors: Factors
    rank: int

    @property
    def n_weights(self) -> int:
        """Weights of both layers together."""
        return self.rank * self.factors.n_per_rank


def _factorise(spec: LowRank, model: nn.Module, structure: Structure) -> Outcome:
    refuse_quantized(spec, structure, code="low_rank_after_quantize")
    if structure.masked:
        raise PassRefused(
            "low_rank would fill the zeros that a sparsify training made: factorise first, then train.",
            code="low_rank_after_sparsify",
        )
    options, skipped = _decompose(spec, model)
    energy = spec.energy if spec.energy is not None else _energy_for_ratio(spec, model, options)
    chosen = {name: _choose(name, found, energy, spec.min_rank) for name, found in options.items()}
    smaller = {name: choice for name, choice in chosen.items() if choice.n_weights < _n_weights(model, name)}
    skipped += [_would_grow(model, chosen[name]) for name in chosen if name not in smaller]
    if not smaller:
        raise PassRefused(
            f"No layer becomes smaller at energy {energy:.4g}: lower the energy, or choose another pass.",
            code="nothing_to_factorise",
            detail={"skipped": [item.model_dump() for item in skipped]},
        )
    for choice in smaller.values():
        _replace_(model, choice)
    forms = {name: choice.factors.form for name, choice in smaller.items()}
    metrics = {"energy": energy, "n_factorised": float(len(smaller))}
    metrics.update({f"rank.{name}": float(choice.rank) for name, choice in smaller.items()})
    changes = {"layers": read_layers(model), "factorised": {**structure.factorised, **forms}}
    return Outcome(
        model=model,
        structure=structure.model_copy(update=changes),
        weights_changed=True,
        skipped=tuple(skipped),
        metrics=metrics,
    )


def _decompose(spec: LowRank, model: nn.Module) -> tuple[dict[str, tuple[Factors, ...]], list[Skip]]:
    """Return name -> factors in every form that the spec allows, and the layers that have none."""
    options: dict[str, tuple[Factors, ...]] = {}
    skipped: list[Skip] = []
    for name, module in model.named_modules():
        kind = _kind_of(module)
        if kind is None:
            continue
        reason = _obstacle(spec, module, kind)
        if reason is not None:
            skipped.append(Skip(layer=name, reason=reason))
            continue
        assert isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding)
        possible = forms_of(module)
        wanted = [form for form in possible if spec.form in ("smaller", form)] or list(possible)
        options[name] = tuple(factor(module, form) for form in wanted)
    return options, skipped


def _kind_of(module: nn.Module) -> str | None:
    kinds: tuple[tuple[type[nn.Module], str], ...] = (
        (nn.Linear, "linear"),
        (nn.Conv2d, "conv2d"),
        (nn.Embedding, "embedding"),
    )
    return next((kind for type_, kind in kinds if isinstance(module, type_)), None)


def _obstacle(spec: LowRank, module: nn.Module, kind: str) -> str | None:
    if kind not in spec.layers:
        return f"layers has no {kind}"
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        return "grouped convolution: its matrix is block-diagonal already"
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        return f"padding mode {module.padding_mode}: only zeros pass a convolution unchanged"
    return None


def _choose(name: str, options: Sequence[Factors], energy: float, min_rank: int) -> _Choice:
    """Return the form with the fewest weights at this energy."""
    choices = [
        _Choice(name, factors, min(max(min_rank, factors.rank_for_energy(energy)), len(factors.energy)))
        for factors in options
    ]
    return min(choices, key=lambda choice: choice.n_weights)


def _energy_for_ratio(spec: LowRank, model: nn.Module, options: Mapping[str, tuple[Factors, ...]]) -> float:
    """Return the largest energy at which the network has at most the wanted share of its parameters."""
    assert spec.parameters_ratio is not None
    before = sum(parameter.numel() for parameter in model.parameters())

    def n_parameters(energy: float) -> int:
        saved = 0
        for name, found in options.items():
            saved += max(0, _n_weights(model, name) - _choose(name, found, energy, spec.min_rank).n_weights)
        return before - saved

    wanted = spec.parameters_ratio * before
    low, high = 0.0, 1.0
    if n_parameters(low) > wanted:
        raise PassRefused(
            f"Even rank {spec.min_rank} everywhere keeps {n_parameters(low) / before:.1%} of the parameters, more than the "
            f"{spec.parameters_ratio:.1%} asked for: raise parameters_ratio, or prune as well.",
            code="ratio_unreachable",
            detail={"smallest_ratio": n_parameters(low) / before},
        )
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if n_parameters(middle) <= wanted else (low, middle)
    return low


def _n_weights(model: nn.Module, name: str) -> int:
    weight = model.get_submodule(name).weight
    assert not isinstance(weight, nn.Module)
    return weight.numel()


def _would_grow(model: nn.Module, choice: _Choice) -> Skip:
    reason = (
        f"rank {choice.rank} needs {choice.n_weights} weights, the layer has {_n_weights(model, choice.name)}: it would not "
        "become smaller"
    )
    return Skip(layer=choice.name, reason=reason)


def _replace_(model: nn.Module, choice: _Choice) -> None:
    module = model.get_submodule(choice.name)
    assert isinstance(module, Factorable)
    pair = split_layer(module, choice.factors.form, choice.rank)
    fill_(pair, module, choice.factors)
    replace_module_(model, choice.name, pair.train(module.training))
