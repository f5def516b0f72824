"""What a study may try on a kind of board, where it begins, and how small a file can become there at all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgefleet_compression.passes.specs import LowRank, Quantize, RemoveBlocks, StructuredPrune, Train
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.search.axes import CategoricalAxis, Choice, Value
from edgefleet_compression.search.deriving import TECHNIQUES, Supplies, first_points, space_of
from edgefleet_compression.search.families import Nature, nature_of_graph
from edgefleet_compression.search.objectives import Reachable
from edgefleet_compression.search.policy import Policy, warm_starts
from edgefleet_compression.search.space import TARGET_AXIS, SearchSpace, TargetChoice, grid, is_enumerable, parse_space
from edgefleet_compression.search.study import StudySpec
from edgefleet_controller.db.tables import Model
from edgefleet_controller.studies.schemas import StudyCreate
from edgefleet_deploy.targets import TARGETS

JsonObject = dict[str, Any]
KNOWN_SHARE = 0.5
"""Of the trials at most so many repeat what is known to be good elsewhere: the rest looks for better."""
ROUNDED = 0.9
"""Of the parameters at least so many stay in the file as they are counted: normalisation is folded away."""


def space_for(request: StudyCreate, targets: Sequence[str], model: Model) -> SearchSpace:
    """The space that is asked for, or the one that suits the model, over these targets. SearchInvalid with the reason."""
    choices = [TargetChoice(name=name, precisions=TARGETS[name].precisions) for name in targets]
    if request.space is None:
        supplies = Supplies("none" if model.data is None else "labelled", request.max_epochs)
        techniques = request.techniques or TECHNIQUES
        return space_of(nature_of_model(model), choices, supplies, techniques=techniques, seed=request.seed)
    document: JsonObject = dict(request.space)
    given = document.get("axes", [])
    if not isinstance(given, list):
        return parse_space(document)  # which refuses it, and says why
    axes = [axis for axis in given if not _chooses_target(axis)]
    if len(choices) > 1:
        values = tuple(Choice(value=choice.name) for choice in choices)
        axes.append(CategoricalAxis(name=TARGET_AXIS, choices=values).model_dump(mode="json"))
    whole = document | {"axes": axes, "targets": [choice.model_dump(mode="json") for choice in choices]}
    return parse_space({"seed": request.seed} | whole)


def _chooses_target(axis: Any) -> bool:
    return isinstance(axis, Mapping) and axis.get("name") == TARGET_AXIS


def nature_of_model(model: Model) -> Nature:
    """What kind of network it is, by what its inspection found."""
    facts = model.facts
    if facts.get("nature"):
        return Nature(**{**facts["nature"], "reasons": tuple(facts["nature"].get("reasons", ()))})
    inputs = [(str(one["dtype"]), tuple(one["shape"][1:])) for one in facts.get("inputs") or ()]
    operators = [str(name) for name in facts.get("operators") or ()]
    nature = nature_of_graph(operators, inputs)
    is_torch = model.format == "safetensors" or bool(facts.get("convertible", False))
    return replace(nature, form="torch" if is_torch else "onnx", has_batchnorm="BatchNormalization" in operators)


def warm_points(spec: StudySpec, policies: Sequence[Policy], nature: Nature) -> tuple[dict[str, Value], ...]:
    """Points to begin with: what was good in earlier searches, then the plain formats; at most a share of the trials."""
    known = warm_starts(policies, spec.space, nature.family)
    found = {tuple(sorted(point.items())): point for point in (*known, *first_points(spec.space))}
    return tuple(found.values())[: max(1, int(spec.n_trials * KNOWN_SHARE))]


def reachable_size(space: SearchSpace, model: Model) -> Reachable:
    """What is certain about the size of files in this space: weights at their fewest bits, with the fewest channels.

    Nothing is certain where a recipe may take away whole blocks, factorise, rank channels over the whole network or train a
    smaller student, or where bits are chosen by layer.
    """
    n_parameters = model.facts.get("n_parameters")
    if not n_parameters or not is_enumerable(space):
        return Reachable()
    shares = [_least_share(plan.recipe) for plan in grid(space)]
    if not shares or any(share is None for share in shares):
        return Reachable()
    least = min(share for share in shares if share is not None)
    return Reachable(least=ROUNDED * int(n_parameters) * least)


def _least_share(recipe: Recipe) -> float | None:
    """Bytes of the recipe's file over the model's parameters at least; None where that cannot be known beforehand."""
    bits = {"int8": 8, "int8-dynamic": 8, "int8-weights": 8, "fp16": 16, "fp32": 32, None: 32}.get(recipe.precision, 4)
    kept = 1.0
    for spec in recipe.passes:
        if isinstance(spec, RemoveBlocks | LowRank) or (isinstance(spec, Train) and spec.student is not None):
            return None
        if isinstance(spec, Quantize):
            if spec.allocation is not None or spec.hybrid is not None:
                return None
            bits = min(bits, spec.weights.bits)
        if isinstance(spec, StructuredPrune):
            if spec.scope == "global":  # it may take most of its channels from the widest layers
                return None
            kept *= (1.0 - spec.amount) ** 2
    return kept * bits / 8
