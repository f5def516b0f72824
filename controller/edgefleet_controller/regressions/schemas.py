"""Documents of ``/v1/regressions`` and ``/v1/webhooks``."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_controller.pagination import PageRequest


class RegressionView(BaseModel):
    """A change of one figure of an artifact on a device."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, reg_...")
    device_id: str = Field(description="device that measured it")
    artifact_sha256: str = Field(description="hash of the measured file")
    run_id: str = Field(description="the measurement by which the change was found")
    changed_run_id: str = Field(description="the first measurement after the change")
    figure: Literal["latency_p50_ms", "energy_mj"] = Field(description="what changed; the name ends in the unit")
    direction: Literal["worse", "better"] = Field(description="worse: the figure rose")
    ratio: float = Field(description="after / before")
    before: float = Field(description="geometric mean before the change, in the figure's unit")
    after: float = Field(description="geometric mean after the change, in the figure's unit")
    n_before: int = Field(description="measurements before the change")
    n_after: int = Field(description="measurements after the change")
    p_value: float = Field(description="of the permutation test; at most the stated rate of false positives")
    created_at: datetime = Field(description="when it was found, UTC")
    acknowledged_at: datetime | None = Field(description="when somebody took note of it, UTC")
    acknowledged_by: str | None = Field(description="who did")


class RegressionPageRequest(PageRequest):
    """Which changes are wanted."""

    device: str | None = Field(default=None, description="only those of this device (identifier)")
    artifact: str | None = Field(default=None, description="only those of this artifact (sha256)")
    open: bool | None = Field(default=None, description="true: only those that nobody acknowledged; false: the others")


class WebhookCreate(BaseModel):
    """An address that is to be told."""

    model_config = ConfigDict(extra="forbid")
    url: str = Field(min_length=9, max_length=2000, description="https:// address with a public host")


class WebhookView(BaseModel):
    """A webhook without its secret."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, whk_...")
    url: str = Field(description="where messages go")
    created_by: str | None = Field(description="who made it")
    created_at: datetime = Field(description="when, UTC")


class WebhookCreated(WebhookView):
    """A webhook as it was made."""

    secret: str = Field(description="key of the signatures, shown this once")


class DeliveryView(BaseModel):
    """A message to a webhook."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, dlv_...; every attempt carries it as X-Edgefleet-Delivery")
    regression_id: str = Field(description="what it tells of")
    state: Literal["queued", "delivered", "failed"] = Field(description="failed: given up")
    attempts: int = Field(description="how often it was tried")
    due_at: datetime = Field(description="when it is tried next, UTC")
    message: str | None = Field(description="what the last attempt met")
    created_at: datetime = Field(description="when it was queued, UTC")
    ended_at: datetime | None = Field(description="when it was taken or given up, UTC")
