"""Documents of ``/v1/jobs``."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_controller.jobs.sweep import MAX_SETTINGS

JobState = Literal["queued", "running", "cancelling", "cancelled", "completed", "failed"]
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
    state: JobState = Field(description="queued, running, cancelling, cancelled, completed or failed")
    progress: float = Field(description="share done, 0 to 1")
    message: str = Field(description="what happened last")
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")
    created_at: datetime = Field(description="when it was submitted, UTC")
    started_at: datetime | None = Field(description="when work began, UTC")
    finished_at: datetime | None = Field(description="when it ended, UTC")
    version: int = Field(description="rises with every change; pass it as `since` to wait for the next")


class JobView(JobSummary):
    """A job with its variants."""

    request: dict[str, Any] = Field(description="what was asked for, with the devices it was resolved to")
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
