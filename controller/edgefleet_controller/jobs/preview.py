"""What a job would do, before it is submitted: what would be refused and why, how many runs, how long, how large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_compression.precision import Precision
from edgefleet_compression.recipe import Recipe, recipe_sha256
from edgefleet_controller.db.tables import Compression, Device, Model, Variant
from edgefleet_controller.devices import service as devices
from edgefleet_controller.jobs.refusing import find_refusal
from edgefleet_controller.jobs.schemas import JobCreate
from edgefleet_controller.jobs.service import choose_recipe
from edgefleet_controller.models import service as models
from edgefleet_controller.runs.suitability import is_board_of
from edgefleet_deploy.targets import TARGETS, Target

OVERHEAD_S = 12.0
"""What a run takes beside its timed part and warm-up: fetching, loading, accuracy. Seen on the demo's host; boards differ."""

BITS: Mapping[Precision, float] = {
    "fp32": 32,
    "fp16": 16,
    "int8": 8,
    "int8-dynamic": 8,
    "int8-weights": 8,
    "int4-weights": 4.5,  # with a scale of 16 bits for each block of 32
    "int4": 4.5,
}
"""Bits of a stored weight."""


@dataclass(frozen=True)
class PreviewedVariant:
    """A recipe for a target. refusal: why it cannot be; size_bytes: of the weights alone, before anything is pruned."""

    recipe: str
    target: str
    refusal: str | None
    size_bytes: float | None
    compress_s: float | None
    """mean of earlier compressions by the same recipe; None where there was none"""


@dataclass(frozen=True)
class Preview:
    """The job as it would be. busy: boards whose runs would wait, with the reason."""

    variants: list[PreviewedVariant]
    devices: list[Device]
    unsuited: list[str]
    n_runs: int
    measure_s: float
    compress_s: float
    n_without_experience: int


def preview(session: Session, request: JobCreate) -> Preview:
    """The preview; raises what submitting would raise for unknown models, recipes, targets and devices."""
    model = models.choose(session, request.model)
    recipes = [choose_recipe(wanted) for wanted in request.recipes]
    targets = [TARGETS[name] for name in request.targets if name in TARGETS]
    chosen = devices.choose(session, request.devices, request.match, request.any_of)
    seen = _experience(session, recipes)
    variants = [_variant(model, recipe, target, seen) for recipe in recipes for target in targets]
    kept = [variant for variant in variants if variant.refusal is None]
    settings = request.settings if isinstance(request.settings, list) else [request.settings]
    each_s = sum(one.launches * (one.seconds + one.warmup_seconds) + OVERHEAD_S for one in settings)
    made = {variant.recipe: variant for variant in kept}.values()
    return Preview(
        variants=variants,
        devices=chosen,
        unsuited=[
            _unsuited(target, device) for target in targets for device in chosen if not is_board_of(target, device)
        ],
        n_runs=len(kept) * (request.any_of or len(chosen)) * len(settings),
        measure_s=len(kept) * each_s,
        compress_s=sum(variant.compress_s or 0.0 for variant in made),
        n_without_experience=sum(variant.compress_s is None for variant in made),
    )


def refusals_of(facts: Mapping[str, Any], recipe: Recipe) -> dict[str, str]:
    """Target -> why this recipe's result cannot be compiled for it; the targets that can be are left out."""
    found = {name: find_refusal(facts, recipe, target) for name, target in TARGETS.items()}
    return {name: refusal.message for name, refusal in found.items() if refusal is not None}


def _experience(session: Session, recipes: Sequence[Recipe]) -> dict[str, float]:
    """Mean cost of earlier compressions, by the hash of their recipe."""
    hashes = [recipe_sha256(recipe) for recipe in recipes]
    query = (
        select(Variant.recipe_sha256, func.avg(Compression.cost_s))
        .join(Compression, Compression.key_sha256 == Variant.compression_key)
        .where(Variant.recipe_sha256.in_(hashes))
        .group_by(Variant.recipe_sha256)
    )
    return {sha256: float(cost_s) for sha256, cost_s in session.execute(query)}


def _variant(model: Model, recipe: Recipe, target: Target, seen: Mapping[str, float]) -> PreviewedVariant:
    refusal = find_refusal(model.facts, recipe, target)
    n_parameters = model.facts.get("n_parameters")
    bits = BITS.get(recipe.precision) if recipe.precision is not None else BITS["fp32"]
    return PreviewedVariant(
        recipe=recipe.name,
        target=target.name,
        refusal=refusal.message if refusal is not None else None,
        size_bytes=n_parameters * bits / 8 if n_parameters and bits else None,
        compress_s=seen.get(recipe_sha256(recipe)) if recipe.passes else 0.0,
    )


def _unsuited(target: Target, device: Device) -> str:
    return f"{target.name} does not run on {device.name} ({device.board}): it needs {', '.join(target.boards)}"
