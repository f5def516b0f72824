"""A recipe: an ordered tuple of passes with a seed and a name. Torch-free.

Order rules (each with its code), checked when a recipe is made:

- ``prune_after_quantize``: structure is edited before numbers are; this includes after a ``fake_quant`` training.
- ``low_rank_after_quantize``, ``low_rank_after_sparsify``: layers are factorised before numbers are changed.
- ``quantize_twice``: one ``quantize`` per recipe.
- ``cast_twice``, ``cast_after_quantize``, ``quantize_after_cast``: a file has one number format.
- ``quantize_after_fake_quant``: a ``train`` with ``fake_quant`` already leaves a quantized candidate.
- ``train_after_quantize``: training a quantized candidate without ``fake_quant`` would undo its scales.
- ``fake_quant_start_not_zero``: on a quantized candidate ``fake_quant`` works from the first step.
- ``student_after_quantize``, ``student_discards_edits``: a student replaces the network; edits belong after it.
- ``allocation_ambiguous``, ``allocation_incomplete``, ``bits_ambiguous``: see ``passes/specs/allocation.py`` and ``quantize.py``.
- ``amounts_not_global``: see ``passes/specs/structured_prune.py``.
- ``amount_ambiguous``: see ``passes/specs/remove_blocks.py``.
- ``data_free_mixed``: a recipe either looks at the data set or does not.
- ``format_unsupported``, ``fake_quant_not_static``, ``duplicate_ingredient``, ``distill_without_teacher``, ``budget_ambiguous``, ``schedule_empty``, ``student_*``:
  see ``passes/specs.py``.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import RecipeInvalid
from edgefleet_compression.passes.specs import (
    AnyPass,
    Cast,
    FakeQuant,
    LotteryTicket,
    LowRank,
    PruneWeights,
    Quantize,
    RemoveBlocks,
    Sparsify,
    Spec,
    StructuredPrune,
    Train,
    format_precision,
)
from edgefleet_compression.precision import Precision

__all__ = ["AnyPass", "Recipe", "parse_recipe", "recipe_sha256"]


class _OrderState:
    """What the passes so far have left: enough to say whether the next one may follow."""

    def __init__(self) -> None:
        self.quantized_by: str | None = None
        """Kind of the pass that fixed the number format."""
        self.is_simulated = False
        """True if fake-quant is attached, so that quantization-aware training can go on."""
        self.edited = False
        self.sparsified = False

    def accept_prune(self, kind: str) -> None:
        if self.quantized_by:
            raise PydanticCustomError(
                "prune_after_quantize",
                "{kind} cannot follow {by}: structure is edited before numbers are. {kind} first, {by} last.",
                {"by": self.quantized_by, "kind": kind},
            )
        self.edited = True

    def accept_prune_weights(self) -> None:
        if self.quantized_by:
            raise PydanticCustomError(
                "prune_after_quantize",
                "prune_weights cannot follow {by}: zeros are made before numbers are rounded. Prune first, {by} last.",
                {"by": self.quantized_by},
            )
        self.sparsified = True

    def accept_lottery_ticket(self) -> None:
        if self.quantized_by:
            raise PydanticCustomError(
                "train_after_quantize",
                "lottery_ticket trains anew from drawn weights: put it before {by}.",
                {"by": self.quantized_by},
            )
        self.sparsified = self.edited = True

    def accept_low_rank(self) -> None:
        if self.quantized_by:
            raise PydanticCustomError(
                "low_rank_after_quantize",
                "low_rank cannot follow {by}: structure is edited before numbers are. Factorise first, {by} last.",
                {"by": self.quantized_by},
            )
        if self.sparsified:
            raise PydanticCustomError(
                "low_rank_after_sparsify", "low_rank would fill the zeros of the sparsify training: factorise first."
            )
        self.edited = True

    def accept_quantize(self, spec: Quantize) -> None:
        if self.quantized_by == "quantize":
            raise PydanticCustomError("quantize_twice", "The recipe quantizes twice: remove one of the two passes.")
        if self.quantized_by == "fake_quant":
            raise PydanticCustomError(
                "quantize_after_fake_quant",
                "A train pass with fake_quant already leaves a quantized candidate: remove the quantize pass.",
            )
        if self.quantized_by == "cast":
            raise PydanticCustomError(
                "quantize_after_cast", "A file has one number format: remove either the cast or the quantize pass."
            )
        self.quantized_by, self.is_simulated = "quantize", spec.is_simulated

    def accept_cast(self) -> None:
        if self.quantized_by == "cast":
            raise PydanticCustomError("cast_twice", "The recipe casts twice: remove one of the two passes.")
        if self.quantized_by:
            raise PydanticCustomError(
                "cast_after_quantize",
                "A file has one number format, and {by} has chosen integers: remove the cast.",
                {"by": self.quantized_by},
            )
        self.quantized_by = "cast"

    def accept_train(self, spec: Train) -> None:
        fake_quant = spec.ingredient(FakeQuant)
        if spec.student is not None:
            self._accept_student()
        if self.quantized_by and (fake_quant is None or not self.is_simulated):
            raise PydanticCustomError(
                "train_after_quantize",
                "Training belongs before {by}; only after static 8 bit activations may it go on, with the fake_quant "
                "ingredient (start_fraction 0).",
                {"by": self.quantized_by},
            )
        if self.quantized_by and fake_quant is not None and fake_quant.start_fraction > 0:
            raise PydanticCustomError(
                "fake_quant_start_not_zero",
                "The candidate is already quantized here: set fake_quant.start_fraction to 0.",
            )
        if fake_quant is not None:
            self.quantized_by, self.is_simulated = "fake_quant", True
        if spec.ingredient(Sparsify) is not None:
            self.sparsified = True
        self.edited = True

    def _accept_student(self) -> None:
        if self.quantized_by:
            raise PydanticCustomError(
                "student_after_quantize", "A student replaces the network: train it before quantizing."
            )
        if self.edited:
            raise PydanticCustomError(
                "student_discards_edits",
                "A student replaces the network and discards the passes before it: make it the first pass.",
            )


class Recipe(Spec):
    """An ordered tuple of passes; an empty one is the baseline."""

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Name of the variant in tables: letters, digits, dot, dash, underscore.",
    )
    passes: tuple[AnyPass, ...] = Field((), max_length=16, description="What is done to the model, in this order.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random choice the recipe makes.")

    @model_validator(mode="after")
    def _order(self) -> "Recipe":
        state = _OrderState()
        for spec in self.passes:
            if isinstance(spec, StructuredPrune | RemoveBlocks):
                state.accept_prune(spec.kind)
            elif isinstance(spec, LotteryTicket):
                state.accept_lottery_ticket()
            elif isinstance(spec, PruneWeights):
                state.accept_prune_weights()
            elif isinstance(spec, LowRank):
                state.accept_low_rank()
            elif isinstance(spec, Quantize):
                state.accept_quantize(spec)
            elif isinstance(spec, Cast):
                state.accept_cast()
            else:
                state.accept_train(spec)
        return self

    @property
    def precision(self) -> Precision | None:
        """The number format its last word on numbers leaves; None: that of the model it is given."""
        found: Precision | None = None
        for spec in self.passes:
            if isinstance(spec, Quantize):
                found = spec.precision
            elif isinstance(spec, Cast):
                found = "fp16"
            elif isinstance(spec, Train) and (fake_quant := spec.ingredient(FakeQuant)) is not None:
                found = format_precision(fake_quant.weights, fake_quant.activations)
        return found

    @model_validator(mode="after")
    def _data_free_throughout(self) -> "Recipe":
        if self.is_data_free and any(_needs_data(spec) for spec in self.passes):
            raise PydanticCustomError(
                "data_free_mixed",
                "A pass of this recipe is data-free, another one looks at the data set: make all of them data-free (synthesis of "
                "train, calibration.source of quantize) or none.",
            )
        return self

    @property
    def is_data_free(self) -> bool:
        """True if a pass makes its own samples: then no pass is given the data set."""
        return any(
            (isinstance(spec, Train) and spec.synthesis is not None)
            or (isinstance(spec, Quantize) and spec.calibration.source != "train")
            for spec in self.passes
        )

    @property
    def trains(self) -> bool:
        """True if a pass needs labelled data and a torch model."""
        return any(isinstance(spec, Train | LotteryTicket) for spec in self.passes)


def _needs_data(spec: AnyPass) -> bool:
    if isinstance(spec, Quantize):
        return spec.uses_samples and spec.calibration.source == "train"
    return isinstance(spec, LotteryTicket) or (isinstance(spec, Train) and spec.synthesis is None)


def with_channel_multiple(recipe: Recipe, multiple: int) -> Recipe:
    """Return the recipe with ``round_to`` set in every structured_prune that leaves it to the target."""
    passes = tuple(
        spec.model_copy(update={"round_to": multiple})
        if isinstance(spec, StructuredPrune) and spec.round_to is None
        else spec
        for spec in recipe.passes
    )
    return recipe.model_copy(update={"passes": passes})


def recipe_sha256(recipe: Recipe) -> str:
    """Return the sha256 of what the recipe does: passes and seed in canonical JSON, without the name.

    Defaults are part of it, so a changed default is a changed recipe; two names for the same work share one hash.
    """
    document = recipe.model_dump(mode="json", exclude={"name"})
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse_recipe(document: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a JSON document, or raise RecipeInvalid with the code of the first broken rule."""
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise recipe_error(error) from error


def recipe_error(error: ValidationError) -> RecipeInvalid:
    """Return pydantic's findings as one coded error; ``detail.errors`` lists every field with its own code."""
    findings = [
        {"path": ".".join(str(part) for part in item["loc"]), "code": item["type"], "message": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    first = findings[0]
    code = first["code"] if first["code"] in RULE_CODES else RecipeInvalid.default_code
    where = f" (at {first['path']})" if first["path"] else ""
    return RecipeInvalid(f"{first['message']}{where}", code=code, detail={"errors": findings})


RULE_CODES = frozenset(
    {
        "allocation_ambiguous",
        "allocation_incomplete",
        "amount_ambiguous",
        "amount_not_n_of_m",
        "amounts_not_global",
        "bits_ambiguous",
        "budget_ambiguous",
        "cast_after_quantize",
        "cast_twice",
        "data_free_mixed",
        "distill_without_teacher",
        "duplicate_ingredient",
        "fake_quant_not_static",
        "fake_quant_start_not_zero",
        "format_unsupported",
        "low_rank_after_quantize",
        "low_rank_after_sparsify",
        "nothing_to_learn",
        "prune_after_quantize",
        "quantize_after_cast",
        "quantize_after_fake_quant",
        "quantize_twice",
        "rank_ambiguous",
        "scaling_without_weights",
        "schedule_empty",
        "solver_unsupported",
        "student_after_quantize",
        "student_ambiguous",
        "student_discards_edits",
        "student_incomplete",
        "student_not_smaller",
        "teacher_has_no_features",
        "train_after_quantize",
    }
)
"""Codes of the rules; any other finding (unknown field, value out of range) is ``recipe_invalid``."""
