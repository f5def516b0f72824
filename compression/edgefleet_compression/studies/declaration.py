"""What a study is: fixed before anything runs, frozen, and hashed. Torch-free."""

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.studies.claims import Claim, Comparison

ScaleName = Literal["small", "full"]
SCALES: tuple[ScaleName, ...] = ("small", "full")
Role = Literal["main", "control", "ablation", "sensitivity"]
Factor = float | str


class StudyData(Spec):
    """A data set of a study. Every seed has its own cut and its own noise, so that chance of both is in the intervals."""

    name: str = Field(min_length=1, max_length=64, description="Name that models refer to.")
    spec: dict[str, Any] | None = Field(
        description="Data set specification without split_seed; null: given at the start, as name=FILE with such a specification."
    )
    noise: float = Field(
        0.0, ge=0.0, le=10.0, description="Standard deviation of normal noise added to float samples, in their unit."
    )
    shares: tuple[float, float, float] | None = Field(
        None, description="Shares of training, validation and test samples, cut anew; null: as the data set is cut."
    )

    @model_validator(mode="after")
    def _shares_add_up(self) -> "StudyData":
        if self.shares is not None and (min(self.shares) <= 0 or abs(sum(self.shares) - 1.0) > 1e-9):
            raise PydanticCustomError("shares_invalid", "The shares of the three splits are positive and add up to 1.")
        return self


class StudyModel(Spec):
    """A network that arms begin with."""

    name: str = Field(min_length=1, max_length=64, description="Name that arms refer to.")
    architecture: str = Field(description="Registered architecture, or a network by name such as resnet-20.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Its arguments.")
    data: str = Field(description="Data set by name.")
    epochs: int = Field(ge=1, le=10_000, description="Training of the baseline.")
    lr: float | None = Field(None, gt=0.0, le=10.0, description="Peak learning rate; null: that of train_model.")


class Arm(Spec):
    """One recipe on one model for one target. Factors are what the analysis groups and fits by."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Name in tables.")
    model: str = Field(description="Model by name.")
    recipe: Recipe = Field(description="What is done to the model; the seed of a unit takes the place of its seed.")
    target: str = Field("onnxruntime", description="What the file is compiled for.")
    start: Literal["trained", "untrained"] = Field(
        "trained", description="untrained: the recipe begins with drawn weights; the baseline is the trained network."
    )
    role: Role = Field("main", description="What the arm is for.")
    family: str = Field("", max_length=64, description="Ablation or technique that the arm belongs to.")
    factors: dict[str, Factor] = Field(default_factory=dict, description="Figures and levels of this arm.")
    train_share: float = Field(1.0, gt=0.0, le=1.0, description="Share of the training samples that the recipe sees.")
    seeds: tuple[int, ...] | None = Field(None, min_length=1, description="null: the scale's.")


class ConstraintSet(Spec):
    """What a device class allows."""

    name: str = Field(max_length=64, description="Name in the report.")
    size_bytes: int = Field(ge=1, description="Largest file.")
    p50_ms: float = Field(gt=0, description="Longest median latency.")
    board: str = Field(description="Board of the latency.")


class StudyScale(Spec):
    """A study at one size."""

    name: ScaleName = Field(description="small: minutes of a CPU; full: hours of a GPU.")
    data: tuple[StudyData, ...] = Field(min_length=1, description="Data sets.")
    models: tuple[StudyModel, ...] = Field(min_length=1, description="Models.")
    arms: tuple[Arm, ...] = Field(min_length=1, max_length=2000, description="All arms, ablations among them.")
    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds of every arm that has none of its own.")
    claims: tuple[Claim, ...] = Field(min_length=1, description="What decides the verdict: all of them have to hold.")
    comparisons: tuple[Comparison, ...] = Field((), description="Paired tests; each family is corrected by Holm.")
    boards: tuple[str, ...] = Field(
        (), description="Where files are timed: this-host, or simulated-BOARD; none where latency is no question."
    )
    constraints: tuple[ConstraintSet, ...] = Field((), description="Device classes for which arms are chosen.")
    expected: str = Field(description="Expected cost in words, such as 3 CPU minutes or 40 GPU hours.")
    differences: tuple[str, ...] = Field((), description="Where this scale departs from the question as it was asked.")

    @model_validator(mode="after")
    def _names_are_known(self) -> "StudyScale":
        _require_distinct("data set", [item.name for item in self.data])
        _require_distinct("model", [item.name for item in self.models])
        _require_distinct("arm", [item.name for item in self.arms])
        _require_known("data set", {item.name for item in self.data}, [model.data for model in self.models])
        _require_known("model", {item.name for item in self.models}, [arm.model for arm in self.arms])
        named = [name for claim in self.claims for name in claim.named_arms]
        named += [name for comparison in self.comparisons for name in (comparison.a, comparison.b)]
        _require_known("arm", {item.name for item in self.arms}, named)
        return self

    def arm(self, name: str) -> Arm:
        """Return the arm of this name; KeyError."""
        return {arm.name: arm for arm in self.arms}[name]

    def model(self, name: str) -> StudyModel:
        """Return the model of this name; KeyError."""
        return {model.name: model for model in self.models}[name]

    def data_of(self, model: str) -> StudyData:
        """Return the data set of a model."""
        return {data.name: data for data in self.data}[self.model(model).data]

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """Return the seeds of an arm."""
        return self.seeds if arm.seeds is None else arm.seeds

    @property
    def external_data(self) -> tuple[str, ...]:
        """Names of the data sets whose place has to be given at the start."""
        return tuple(data.name for data in self.data if data.spec is None)


class StudyDeclaration(Spec):
    """A study, with everything that decides its verdict."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64, description="Name on the command line.")
    number: int = Field(ge=1, le=99, description="Number in the list of studies.")
    title: str = Field(max_length=200, description="Heading of the report.")
    question: str = Field(description="What is asked.")
    hypothesis: str = Field(description="What is claimed.")
    falsified_if: str = Field(description="When the claim is given up, in words; the claims have it as numbers.")
    analysis: tuple[str, ...] = Field(min_length=1, description="How figures are analysed, fixed beforehand.")
    left_out: tuple[str, ...] = Field((), description="Arms that were asked for and are not carried out, with reasons.")
    scales: tuple[StudyScale, ...] = Field(min_length=1, max_length=2, description="small and full.")

    @model_validator(mode="after")
    def _scales_once(self) -> "StudyDeclaration":
        _require_distinct("scale", [scale.name for scale in self.scales])
        return self

    def scale(self, name: str) -> StudyScale:
        """Return one scale; KeyError."""
        return {str(scale.name): scale for scale in self.scales}[name]


def declaration_sha256(declaration: StudyDeclaration, scale: str) -> str:
    """Return the sha256 of a study at one scale: the text, arms and claims that its verdict hangs on."""
    document = declaration.model_dump(mode="json", exclude={"scales"})
    document["scale"] = declaration.scale(scale).model_dump(mode="json")
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _require_distinct(what: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PydanticCustomError(
            "name_repeated", "Two of one name, {what} {name}.", {"what": what, "name": repeated[0]}
        )


def _require_known(what: str, known: set[str], named: list[str]) -> None:
    unknown = sorted(set(named) - known)
    if unknown:
        raise PydanticCustomError("name_unknown", "There is no {what} {name}.", {"what": what, "name": unknown[0]})
