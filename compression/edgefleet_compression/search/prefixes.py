"""Recipes that begin alike share work: a pass's seed and result depend on what is before it alone (``passes.application``)."""

import hashlib
import json
from collections.abc import Sequence

from edgefleet_compression.passes.specs import AnyPass
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.search.study import Proposal


def shared_prefix(recipes: Sequence[Recipe]) -> tuple[AnyPass, ...]:
    """Return the passes that all recipes begin with; () where their seeds differ or one sees data and another does not."""
    if not recipes or len({(recipe.seed, recipe.is_data_free) for recipe in recipes}) > 1:
        return ()
    shared: list[AnyPass] = []
    for passes in zip(*(recipe.passes for recipe in recipes), strict=False):
        if any(spec != passes[0] for spec in passes):
            break
        shared.append(passes[0])
    return tuple(shared)


def prefix_keys(recipe: Recipe) -> tuple[str, ...]:
    """Return one key (sha256) for each beginning of the recipe, the shortest first: equal where the work is the same."""
    origin = [recipe.seed, recipe.is_data_free]
    passes = [spec.model_dump(mode="json") for spec in recipe.passes]
    return tuple(_sha256([*origin, passes[: count + 1]]) for count in range(len(passes)))


def grouped(proposals: Sequence[Proposal]) -> tuple[tuple[Proposal, ...], ...]:
    """Return the proposals in groups whose recipes begin with the same costly pass, so that a group's first trial does the
    work of all. Groups and their members stay in the order of numbers.
    """
    groups: dict[str, list[Proposal]] = {}
    for proposal in sorted(proposals, key=lambda item: item.number):
        keys = prefix_keys(proposal.recipe)
        costly = [
            place for place, spec in enumerate(proposal.recipe.passes) if spec.kind in ("train", "lottery_ticket")
        ]
        groups.setdefault(keys[costly[-1]] if costly else f"alone {proposal.number}", []).append(proposal)
    return tuple(tuple(group) for group in groups.values())


def _sha256(document: object) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
