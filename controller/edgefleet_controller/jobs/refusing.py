"""Which recipes of a job can certainly not become artifacts of which targets, known before any time is spent."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgefleet_compression.recipe import Recipe
from edgefleet_controller.db.tables import Model, Variant
from edgefleet_controller.jobs.errors import NothingToCompile
from edgefleet_deploy.refusals import Refusal, refusals, summary_of
from edgefleet_deploy.targets import Target

DURING = "submission"


def find_refusal(facts: Mapping[str, Any], recipe: Recipe, target: Target) -> Refusal | None:
    """The first reason why this recipe's result cannot be compiled for the target; None where none is known yet."""
    precision = recipe.precision
    if precision is None:
        if facts.get("quantized"):
            return None  # an integer graph of a person's own: the compiler looks at it
        precision = "fp32"
    found = refusals(summary_of(facts, precision), target)
    return found[0] if found else None


def refuse_impossible(model: Model, variants: Sequence[Variant], targets: Mapping[str, Target]) -> list[Variant]:
    """End the variants that cannot be compiled, each with its reason; NothingToCompile when none is left.

    Returns the ended ones.
    """
    ended = []
    for variant in variants:
        refusal = find_refusal(model.facts, Recipe.model_validate(variant.recipe), targets[variant.target])
        if refusal is not None:
            variant.state = "failed"
            variant.error = {"code": refusal.code, "message": refusal.message, "detail": {}, "during": DURING}
            ended.append(variant)
    if len(ended) == len(variants):
        reasons = [{"variant": variant.name, **(variant.error or {})} for variant in ended]
        raise NothingToCompile(
            "No recipe of the job can be compiled for any of its targets. The first reason, of {}: {}.".format(
                ended[0].name, reasons[0]["message"]
            ),
            refusals=reasons,
        )
    return ended
