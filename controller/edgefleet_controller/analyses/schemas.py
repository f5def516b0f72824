"""Documents of analyses before compression."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_controller.models.schemas import DataSpec

AnalysisState = Literal["queued", "running", "completed", "failed", "cancelled"]


class AnalysisCreate(BaseModel):
    """What to look at; every field may be left out."""

    model_config = ConfigDict(extra="forbid")
    data: DataSpec | None = Field(
        default=None, description="labelled data for the sensitivities; null takes the model's own, if it has any"
    )
    recipes: list[str | dict[str, Any]] | None = Field(
        default=None, min_length=1, max_length=64, description="whose sizes to expect; null for all presets"
    )
    n_samples: int = Field(
        default=512, ge=1, le=100_000, description="validation samples for the sensitivities, at most"
    )


class AnalysisView(BaseModel):
    """An analysis; ``result`` is there when it is completed."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, ana_...")
    model_sha256: str = Field(description="hash of the model's file")
    request: dict[str, Any] = Field(
        description="what was asked for: data, recipes, n_samples, with the tools' versions"
    )
    state: AnalysisState = Field(description="queued, running, completed, failed or cancelled")
    progress: float = Field(description="share done, 0 to 1")
    message: str = Field(description="what happens now")
    result: dict[str, Any] | None = Field(
        description="the analysis: layers, counts, sensitivities, expected sizes; what is not known is null, with its "
        "reason under unknown"
    )
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")
    created_at: datetime = Field(description="when it was first asked for, UTC")
    started_at: datetime | None = Field(description="when it began, UTC")
    finished_at: datetime | None = Field(description="when it ended, UTC")
