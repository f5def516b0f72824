"""Documents of ``/v1/agent-releases`` and ``/v1/rollouts``."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgefleet_controller.dispatch.requirements import Requirement

RolloutState = Literal["canary", "rolling", "completed", "stopped", "cancelled"]
UpdateState = Literal["pending", "offered", "updated", "failed", "rolled_back"]


class ReleaseCreate(BaseModel):
    """A wheel of the agent that was uploaded before."""

    model_config = ConfigDict(extra="forbid")
    wheel_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the wheel, lower-case hex")


class ReleaseView(BaseModel):
    """A version of the agent to be installed on boards."""

    model_config = ConfigDict(from_attributes=True)
    id: str = Field(description="identifier, rel_...")
    version: str = Field(description="version, as the wheel's metadata say")
    wheel_sha256: str = Field(description="SHA-256 of the wheel")
    created_at: datetime = Field(description="when it was registered, UTC")


class RolloutCreate(BaseModel):
    """Which release goes to which boards, and with how much care."""

    model_config = ConfigDict(extra="forbid")
    release: str = Field(max_length=100, description="version or identifier of the release")
    devices: list[str] | None = Field(
        default=None, min_length=1, max_length=100_000, description="names or identifiers; null: all active boards"
    )
    match: Requirement | None = Field(default=None, description="instead of devices: what the boards have to be")
    canary_share: float = Field(
        default=0.1, gt=0, le=1, description="share of the boards that get it first; one at least"
    )
    max_failures: int = Field(
        default=1, ge=1, description="stops when so many boards failed; one canary always stops it"
    )

    @model_validator(mode="after")
    def _says_once_which(self) -> "RolloutCreate":
        if self.devices is not None and self.match is not None:
            raise ValueError("give devices or match, not both")
        return self


class RolloutDeviceView(BaseModel):
    """How far the rollout is on one board."""

    name: str = Field(description="name of the board")
    is_canary: bool = Field(description="whether it belongs to the first stage")
    state: UpdateState = Field(description="offered: it took the offer and has not checked in with the version yet")
    from_version: str | None = Field(description="version of its agent when the rollout began")
    agent_version: str | None = Field(description="version of its agent now")
    message: str | None = Field(description="why it failed")
    offered_at: datetime | None = Field(description="when it took the offer, UTC")
    finished_at: datetime | None = Field(description="when it checked in with the version or failed, UTC")


class RolloutView(BaseModel):
    """A rollout in a list."""

    id: str = Field(description="identifier, rol_...")
    version: str = Field(description="version of the release")
    state: RolloutState = Field(description="canary: the first boards; rolling: the others; stopped: too many failed")
    max_failures: int = Field(description="stops when so many boards failed")
    message: str = Field(description="why it was stopped")
    counts: dict[UpdateState, int] = Field(description="number of boards by state")
    created_at: datetime = Field(description="when it was started, UTC")
    finished_at: datetime | None = Field(description="when it ended, UTC")


class RolloutDetail(RolloutView):
    """A rollout with its boards."""

    devices: list[RolloutDeviceView] = Field(description="canaries first, then by name")
