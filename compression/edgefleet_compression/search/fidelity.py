"""Cheap looks first: levels of training and measurement, and which points deserve the next one. Torch-free.

Asynchronous successive halving (Li et al. 2018, arXiv:1810.05934) with several objectives: points of a level are sorted by
non-dominated rank, then by what they add to the volume, as in MO-ASHA (Schmucker et al. 2021, arXiv:2106.12639).
"""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs import Budget, Train
from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.recipe import Recipe

Measurement = Literal["estimated", "quick", "full"]
"""How device figures come about: by the cost model without a run, by a short run, by a run of full length."""


class FidelityLevel(Spec):
    """One rung of the ladder."""

    name: str = Field(min_length=1, max_length=32, pattern=r"^[a-z0-9_]+$", description="Unique within the ladder.")
    training_share: float = Field(
        1.0, gt=0.0, le=1.0, description="Of every training's budget, at least one step or epoch."
    )
    measurement: Measurement = Field(
        "full", description="Device figures: by the cost model, a short run, or one of full length."
    )
    cost: float = Field(1.0, gt=0.0, le=1.0, description="Of one trial here, over that of one at the last level.")


FULL: Final = FidelityLevel(name="full")


class Ladder(Spec):
    """Levels from cheap to full; of the points of a level this share goes on to the next."""

    levels: Annotated[
        tuple[FidelityLevel, ...], Field(min_length=1, max_length=6, description="From cheap to full.")
    ] = (FULL,)
    keep: float = Field(1 / 3, gt=0.0, lt=1.0, description="Share of a level's points that is promoted.")

    @model_validator(mode="after")
    def _ascends(self) -> "Ladder":
        names = [level.name for level in self.levels]
        costs = [level.cost for level in self.levels]
        if len(set(names)) != len(names) or costs != sorted(costs) or costs[-1] != 1.0:
            raise PydanticCustomError(
                "ladder_invalid", "Levels have names of their own, ascending costs, and the last costs 1."
            )
        return self

    def level(self, name: str) -> FidelityLevel:
        """Return the level of this name; raises KeyError."""
        found = next((level for level in self.levels if level.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def above(self, name: str) -> FidelityLevel | None:
        """Return the next level; None above the last."""
        names = [level.name for level in self.levels]
        place = names.index(name) + 1
        return self.levels[place] if place < len(names) else None


def recipe_at(recipe: Recipe, level: FidelityLevel) -> Recipe:
    """Return the recipe with every training's budget cut to the level's share."""
    if level.training_share == 1.0:
        return recipe
    passes = tuple(
        spec.model_copy(update={"budget": _share(spec.budget, level.training_share)})
        if isinstance(spec, Train)
        else spec
        for spec in recipe.passes
    )
    return recipe.model_copy(update={"passes": passes, "name": f"{recipe.name}-{level.name}"})


def _share(budget: Budget, share: float) -> Budget:
    if budget.steps is not None:
        return Budget(steps=max(1, round(budget.steps * share)))
    return Budget(epochs=max(1, round((budget.epochs or 1) * share)))
