"""Documents of ``/v1/runs``."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.results.checks import Checks

RunState = Literal["queued", "leased", "completed", "failed", "cancelled"]


class RunView(BaseModel):
    """One artifact on one device, once."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, run_...")
    kind: Literal["measure", "ab", "aa"] = Field(description="measure, or the kind of its comparison")
    job_id: str | None = Field(description="the job it belongs to; null for a comparison's run")
    variant_id: str | None = Field(description="the variant it measures; null for a comparison's run")
    comparison_id: str | None = Field(description="the comparison it belongs to")
    settings_ordinal: int = Field(description="which of the job's settings it has, from 0")
    device_id: str | None = Field(description="the device it runs on; null while it waits for any that fits")
    state: RunState = Field(description="queued, leased, completed, failed or cancelled")
    attempt: int = Field(description="how often it was leased; every write of a device carries it")
    phase: str | None = Field(description="what the agent said it does: fetch, wait, load, warmup, measure, ...")
    cancel_requested: bool = Field(description="whether the agent is asked to stop")
    lease_expires_at: datetime | None = Field(description="end of the lease, UTC; null unless leased")
    order: dict[str, Any] = Field(description="what the device is asked to do")
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")
    created_at: datetime = Field(description="when it was queued, UTC")
    started_at: datetime | None = Field(description="first lease, UTC")
    finished_at: datetime | None = Field(description="end, UTC")


class RunDetail(RunView, Checks):
    """A run with what shows whether it computed the right thing, and all that the agent reported."""

    report: dict[str, Any] | None = Field(
        default=None, description="the agent's report with conditions, phases and energy; null before it was accepted"
    )


class RunPageRequest(PageRequest):
    """Which runs are wanted."""

    job: str | None = Field(default=None, description="only runs of this job")
    device: str | None = Field(default=None, description="only runs of this device (identifier)")
