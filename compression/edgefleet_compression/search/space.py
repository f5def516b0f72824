"""A search space: named axes, and how a point of them becomes a recipe for a target. Torch-free."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import CompressionError, SearchInvalid
from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.precision import PRECISIONS, Precision
from edgefleet_compression.recipe import Recipe, parse_recipe, recipe_sha256
from edgefleet_compression.search.axes import Axis, AxisName, Point, Value, same_value

TARGET_AXIS: Final = "target"
"""Name of the axis that chooses among several targets; a space with one target has none."""

REFERENCE: Final = "$axis"
PART: Final = "$part"
MAX_GRID: Final = 20_000
"""Points beyond which a space is not enumerated."""


class Cause(Spec):
    """Why something is not to be had."""

    code: str = Field(description="Stable, snake_case.")
    message: str = Field(description="For a person: what was wrong, and what to do.")


class LeftOut(Cause):
    """An axis that does not apply, or values of it."""

    axis: str


class TargetChoice(Spec):
    """A target with the number formats that it computes rightly."""

    name: str = Field(min_length=1, max_length=64)
    precisions: tuple[Precision, ...] = PRECISIONS


class PassTemplate(Spec):
    """A pass in which ``{"$axis": NAME}`` stands for what the axis's value means, and ``{"$axis": NAME, "$part": KEY}`` for one
    entry of it, null where it has none. Of a list, entries that come out null are dropped.
    """

    spec: dict[str, Any] = Field(description="The pass as JSON.")
    unless: tuple[dict[AxisName, tuple[Value, ...]], ...] = Field(
        (), description="The pass is left out where, by any of these, every axis named has one of its values."
    )

    def applies(self, point: Point) -> bool:
        """Return True if the pass is part of the point's recipe."""
        return not any(all(point[name] in values for name, values in case.items()) for case in self.unless)


class SearchSpace(Spec):
    """All recipes that a search may try."""

    axes: tuple[Axis, ...] = Field(max_length=32)
    passes: tuple[PassTemplate, ...] = Field((), max_length=16)
    targets: tuple[TargetChoice, ...] = Field(min_length=1, max_length=16)
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every recipe.")
    left_out: tuple[LeftOut, ...] = Field((), description="Axes that do not apply here, each with the reason.")

    @model_validator(mode="after")
    def _is_whole(self) -> "SearchSpace":
        names = [axis.name for axis in self.axes]
        if len(set(names)) != len(names):
            raise PydanticCustomError("axis_repeated", "Every axis of a space needs a name of its own.")
        unknown = sorted(_references(self) - set(names))
        if unknown:
            raise PydanticCustomError(
                "axis_unknown", "A template refers to the axis {name}, which the space lacks.", {"name": unknown[0]}
            )
        chosen = {value for axis in self.axes if axis.name == TARGET_AXIS for value in axis.values}
        if chosen - {target.name for target in self.targets} or (not chosen and len(self.targets) > 1):
            raise PydanticCustomError(
                "target_axis_mismatch", "Several targets need an axis `target` whose values are their names."
            )
        return self

    @property
    def size(self) -> int | None:
        """Points, invalid and repeated ones counted; None where an axis has no grid."""
        total = 1
        for axis in self.axes:
            if not axis.values:
                return None
            total *= len(axis.values)
        return total

    def axis(self, name: str) -> Axis:
        """Return the axis of this name; raises KeyError."""
        return next(axis for axis in self.axes if axis.name == name)


@dataclass(frozen=True)
class Plan:
    """What a point asks for. key: equal for points that ask for the same."""

    point: Point
    recipe: Recipe
    target: str
    key: str


def parse_space(document: Mapping[str, Any]) -> SearchSpace:
    """Return the space of a JSON document; SearchInvalid with the first finding's code and place."""
    try:
        return SearchSpace.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "space"
        code = first["type"] if first["type"] in SPACE_CODES else "space_invalid"
        raise SearchInvalid(f"The search space is not valid at {where}: {first['msg']}.", code=code) from error


SPACE_CODES: Final = frozenset({"axis_repeated", "axis_unknown", "axis_empty", "target_axis_mismatch"})


def plan_of(space: SearchSpace, point: Point) -> Plan:
    """Return the recipe and the target of a point.

    Raises SearchInvalid ``point_invalid`` (an axis lacks a value, or the value is none of it) or ``precision_unsupported`` (the
    target does not compute the number format), RecipeInvalid with the code of a broken recipe rule.
    """
    checked = _checked(space, point)
    passes = [_filled(template.spec, space, checked) for template in space.passes if template.applies(checked)]
    document = {"name": "search", "passes": [spec for spec in passes if spec is not None], "seed": space.seed}
    recipe = parse_recipe(document)
    target = _target(space, checked)
    if recipe.precision is not None and recipe.precision not in target.precisions:
        raise SearchInvalid(
            f"The target {target.name} does not compute {recipe.precision}: choose another format or target.",
            code="precision_unsupported",
            detail={"target": target.name, "precision": recipe.precision},
        )
    key = hashlib.sha256(f"{recipe_sha256(recipe)} {target.name}".encode()).hexdigest()
    return Plan(checked, recipe.model_copy(update={"name": f"search-{key[:8]}"}), target.name, key)


def cause_of(space: SearchSpace, point: Point) -> Cause | None:
    """Return why a point is no recipe; None for one that is."""
    try:
        plan_of(space, point)
    except CompressionError as error:
        return Cause(code=error.code, message=error.message)
    return None


def grid(space: SearchSpace) -> tuple[Plan, ...]:
    """Return every plan of the space once, in the order of the axes' values, the last axis fastest.

    Raises SearchInvalid ``space_not_finite`` for an axis without a step, ``space_too_large`` beyond MAX_GRID points.
    """
    if space.size is None:
        raise SearchInvalid("An axis without a step has no grid: give it one.", code="space_not_finite")
    if space.size > MAX_GRID:
        raise SearchInvalid(
            f"The space has {space.size} points, more than the {MAX_GRID} that are enumerated: fewer values or axes.",
            code="space_too_large",
        )
    return _grid(space.model_dump_json())


def is_enumerable(space: SearchSpace) -> bool:
    """True if ``grid`` returns."""
    return space.size is not None and space.size <= MAX_GRID


@lru_cache(maxsize=8)
def _grid(document: str) -> tuple[Plan, ...]:
    space = SearchSpace.model_validate_json(document)
    found: dict[str, Plan] = {}
    for point in _points(space):
        try:
            plan = plan_of(space, point)
        except CompressionError:
            continue
        found.setdefault(plan.key, plan)
    return tuple(found.values())


def _points(space: SearchSpace) -> Iterator[Point]:
    names = [axis.name for axis in space.axes]
    for values in itertools.product(*(axis.values for axis in space.axes)):
        yield dict(zip(names, values, strict=True))


def _checked(space: SearchSpace, point: Point) -> dict[str, Value]:
    odd = sorted(set(point) ^ {axis.name for axis in space.axes})
    odd += sorted(axis.name for axis in space.axes if axis.name in point and not axis.accepts(point[axis.name]))
    if odd:
        raise SearchInvalid(
            f"The point does not fit the space at {', '.join(odd[:5])}: every axis needs one of its values, and there are no others.",
            code="point_invalid",
            detail={"axes": odd},
        )
    return {axis.name: same_value(axis, point[axis.name]) for axis in space.axes}


def _target(space: SearchSpace, point: Point) -> TargetChoice:
    name = point.get(TARGET_AXIS, space.targets[0].name)
    return next(target for target in space.targets if target.name == name)


def _filled(part: Any, space: SearchSpace, point: Point) -> Any:
    """Return the template with every reference replaced by what the point's value means."""
    if isinstance(part, Mapping):
        if REFERENCE in part:
            meaning = space.axis(part[REFERENCE]).meaning(point[part[REFERENCE]])
            if PART not in part:
                return meaning
            return meaning.get(part[PART]) if isinstance(meaning, Mapping) else None
        return {key: _filled(value, space, point) for key, value in part.items()}
    if isinstance(part, list | tuple):
        filled = [_filled(value, space, point) for value in part]
        return [value for value in filled if value is not None]
    return part


def _references(space: SearchSpace) -> set[str]:
    found = {name for template in space.passes for case in template.unless for name in case}
    waiting: list[Any] = [template.spec for template in space.passes]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            if REFERENCE in part:
                found.add(str(part[REFERENCE]))
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
    return found
