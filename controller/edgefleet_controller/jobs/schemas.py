"""Documents of ``/v1/jobs``."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator, model_validator

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.jobs.fairness import Priority
from edgefleet_controller.jobs.placement import Compute
from edgefleet_controller.jobs.sweep import MAX_SETTINGS

JobState = Literal["waiting", "queued", "running", "cancelling", "cancelled", "completed", "failed"]
VariantState = Literal["queued", "compressing", "compiling", "dispatched", "completed", "failed", "cancelled"]


Sweep = Annotated[list[MeasureSettings], Field(min_length=1, max_length=MAX_SETTINGS)]


class JobCreate(BaseModel):
    """Every recipe, compiled for every target, measured on every device."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(default=None, min_length=1, max_length=128, description="name of the job")
    model: str = Field(min_length=1, max_length=128, description="identifier or name of a model")
    recipes: list[str | dict[str, Any]] = Field(
        min_length=1, max_length=64, description="names of presets, or recipes: {name, passes, seed}"
    )
    targets: list[str] = Field(
        default_factory=lambda: ["onnxruntime"], min_length=1, max_length=16, description="names of targets"
    )
    devices: list[str] | None = Field(
        default=None, min_length=1, max_length=10_000, description="names or identifiers; null for all active devices"
    )
    match: Requirement | None = Field(
        default=None, description="instead of `devices`: every active device that meets this requirement"
    )
    any_of: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="with `match`: not on every such device, but on so many of them, whichever are free first",
    )
    settings: MeasureSettings | Sweep = Field(
        default_factory=MeasureSettings,
        description="how to measure; several settings are a sweep: every variant is measured with each on each device",
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**31, description="seed of training and compression; null takes each recipe's own"
    )
    metric: str = Field(
        default="top1",
        min_length=1,
        max_length=64,
        description="figure that rows show beside accuracy: top1, top5, f1_binary, f1_macro or mcc",
    )
    no_cache: bool = Field(default=False, description="compress and compile again even if it was done before")
    priority: Priority = Field(
        default="normal", description="a head start of a bounded number of variants; users share the machines equally"
    )
    compute: Compute = Field(
        default="auto", description="where recipes that train run; auto: on a GPU where a worker has one"
    )
    after: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="identifiers of jobs; this one begins when they have completed",
    )
    deadline: AwareDatetime | None = Field(
        default=None, description="RFC 3339; the job ends with deadline_exceeded then, and keeps what was measured"
    )
    max_failures: int | None = Field(
        default=None, ge=0, description="the job is stopped when more of its runs have failed"
    )
    max_failure_share: float | None = Field(
        default=None, ge=0, le=1, description="the job is stopped when a larger share of all its runs has failed"
    )

    @model_validator(mode="after")
    def _names_or_matches(self) -> "JobCreate":
        if self.match is not None and self.devices is not None:
            raise ValueError("name devices or say what they have to be, not both")
        if self.any_of is not None and self.match is None:
            raise ValueError("any_of needs match; an empty one is met by every device")
        return self

    @field_validator("settings")
    @classmethod
    def _settings_differ(cls, settings: MeasureSettings | list[MeasureSettings]) -> Any:
        if isinstance(settings, list) and len(set(settings)) < len(settings):
            raise ValueError("two of the settings are equal; each would be measured twice")
        return settings

    @property
    def n_settings(self) -> int:
        """How many settings each variant is measured with."""
        return len(self.settings) if isinstance(self.settings, list) else 1


class RemeasureCreate(BaseModel):
    """What to measure again of a job; what is left out is as it was."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(default=None, min_length=1, max_length=128, description="name of the new job")
    variants: list[str] | None = Field(
        default=None, min_length=1, max_length=1024, description="names of variants; null for all that were compiled"
    )
    devices: list[str] | None = Field(
        default=None, min_length=1, max_length=10_000, description="names or identifiers; null for those of the job"
    )
    settings: MeasureSettings | Sweep | None = Field(default=None, description="how to measure; null as the job did")
    priority: Priority = Field(default="normal", description="see the job's")
    deadline: AwareDatetime | None = Field(default=None, description="see the job's")
    max_failures: int | None = Field(default=None, ge=0, description="see the job's")
    max_failure_share: float | None = Field(default=None, ge=0, le=1, description="see the job's")


class VariantView(BaseModel):
    """One recipe for one target."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, var_...")
    ordinal: int = Field(description="position in the job")
    name: str = Field(description="name in tables: the recipe's, with the target unless it is the job's first")
    recipe: dict[str, Any] = Field(description="the recipe")
    recipe_sha256: str = Field(description="hash of what the recipe does")
    target: str = Field(description="target")
    state: VariantState = Field(description="how far it is")
    compression_cached: bool | None = Field(description="whether an earlier compression was reused; null before")
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")


class JobSummary(BaseModel):
    """A job without its variants, as lists show it."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, job_...")
    name: str = Field(description="name")
    model_id: str = Field(description="identifier of the model")
    state: JobState = Field(
        description="waiting for other jobs, queued, running, cancelling, cancelled, completed or failed"
    )
    progress: float = Field(description="share done, 0 to 1")
    message: str = Field(description="what happened last")
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")
    created_at: datetime = Field(description="when it was submitted, UTC")
    started_at: datetime | None = Field(description="when work began, UTC")
    finished_at: datetime | None = Field(description="when it ended, UTC")
    version: int = Field(description="rises with every change; pass it as `since` to wait for the next")
    priority: Priority = Field(default="normal", description="low, normal or high")
    deadline_at: datetime | None = Field(default=None, description="when it is stopped unless it has ended, UTC")
    remeasure_of: str | None = Field(default=None, description="the job whose artifacts it only measures again")
    study_id: str | None = Field(default=None, description="the study that it is a trial, or a check, of")
    identity_sha256: str | None = Field(
        default=None,
        description="jobs with the same one make the same artifacts: model, recipes, data, seed and targets",
    )


class JobView(JobSummary):
    """A job with its variants."""

    request: dict[str, Any] = Field(description="what was asked for, with the devices it was resolved to")
    after: list[str] = Field(default_factory=list, description="jobs that it begins after")
    variants: list[VariantView] = Field(description="recipes x targets in the order of the request")


class JobEventView(BaseModel):
    """Something that happened in a job."""

    model_config = ConfigDict(from_attributes=True)
    id: int = Field(description="rising number")
    variant_id: str | None = Field(description="the variant it concerns")
    kind: str = Field(description="stable kind, such as run_completed")
    message: str = Field(description="for a person")
    detail: dict[str, Any] = Field(description="for a program")
    created_at: datetime = Field(description="when, UTC")


class JobEvents(BaseModel):
    """A part of a job's log, oldest first."""

    items: list[JobEventView] = Field(description="oldest first")
    next_after: int | None = Field(description="pass as `after` for what follows; null when there is no more now")
