"""Documents of ``/v1/devices`` and ``/v1/join-tokens``."""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edgefleet_controller.dispatch.windows import Window

DeviceKind = Literal["physical", "simulated", "emulated", "replay"]
StoredDeviceKind = Literal[DeviceKind, "imported"]
DeviceState = Literal["registered", "pending", "active", "held", "draining", "quarantined", "revoked"]
PresenceState = Literal["never", "online", "draining", "offline"]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name: Any = Field(
    pattern=NAME_PATTERN,
    description="unique name: letters, digits, dot, dash, underscore",
)
Labels: Any = Field(default_factory=dict, max_length=64, description="labels, name to value")


class DeviceCreate(BaseModel):
    """A board to be enrolled."""

    model_config = ConfigDict(extra="forbid")
    name: str = Name
    board: str = Field(min_length=1, max_length=64, description="board kind, such as raspberry-pi-4 or linux-host")
    labels: dict[str, str] = Labels
    kind: DeviceKind = Field(default="physical", description="physical, or what stands in for a board")


class DeviceView(BaseModel):
    """A board."""

    id: str = Field(description="identifier, dev_...")
    name: str = Field(description="unique name")
    board: str = Field(description="board kind")
    kind: StoredDeviceKind = Field(
        description="physical, simulated, emulated or replay; it decides the provenance of results. imported: no board, but "
        "what figures of another tool were imported for"
    )
    state: DeviceState = Field(description="registered until its agent enrols; held devices get no work")
    presence: PresenceState = Field(description="whether the agent was heard of lately, and takes work")
    online: bool = Field(description="whether the agent was heard of lately")
    labels: dict[str, str] = Field(description="labels, name to value")
    facts: dict[str, Any] | None = Field(description="what the agent found on the board; null before it enrols")
    agent_version: str | None = Field(description="version of the agent")
    last_seen_at: datetime | None = Field(description="last sign of life, UTC")
    enrolled_at: datetime | None = Field(description="when the agent enrolled, UTC")
    created_at: datetime = Field(description="when it was registered, UTC")
    held_by: str | None = Field(description="who keeps it from runs; `controller` for a quarantine")
    held_reason: str | None = Field(description="why")
    held_until: datetime | None = Field(description="when it takes runs again by itself, UTC; null: by a release only")
    windows: list[Window] | None = Field(description="maintenance windows, in which it is given no run")
    cool_down_s: float = Field(description="pause after each of its runs, seconds")
    rests_until: datetime | None = Field(description="end of the present pause, UTC")
    is_reserved: bool = Field(description="takes only runs that name it, or that no other board could do")
    failures: list[dict[str, Any]] | None = Field(description="its failed runs in a row, newest last")
    version: int = Field(description="rises with every change; its ETag is this number in quotes")


class HoldRequest(BaseModel):
    """Why a board is kept from runs, and for how long."""

    model_config = ConfigDict(extra="forbid")
    reason: str | None = Field(default=None, max_length=500, description="why, for others to read")
    until: AwareDatetime | None = Field(default=None, description="when it takes runs again; null: when it is released")
    for_s: float | None = Field(default=None, gt=0, le=366 * 86400, description="the same as a duration in seconds")


class DevicePatch(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    labels: dict[str, str | None] = Field(
        default_factory=dict, max_length=64, description="labels to set; null removes one"
    )
    cool_down_s: float = Field(default=0.0, ge=0, le=86400, description="pause after each of its runs, seconds")
    is_reserved: bool = Field(default=False, description="take only runs that name it, or that no other board could do")
    windows: list[Window] = Field(default_factory=list, max_length=50, description="all maintenance windows")


class JoinTokenCreate(BaseModel):
    """A one-time token for a device that exists, or for one that names itself."""

    model_config = ConfigDict(extra="forbid")
    device: str | None = Field(
        default=None, description="name or identifier of the device it is for; null for a new one"
    )
    labels: dict[str, str] = Labels
    board: str | None = Field(default=None, min_length=1, max_length=64, description="the only board kind it enrols")
    serial: str | None = Field(
        default=None, min_length=1, max_length=128, description="the only serial number it enrols"
    )
    auto_accept: bool = Field(default=True, description="false: the device gets no runs until a person accepts it")
    ttl_s: float | None = Field(default=None, gt=0, le=7 * 86400, description="life in seconds; default of the server")


class JoinTokenView(BaseModel):
    """A one-time token; it is shown this once."""

    join_token: str = Field(description="ejt_..., give it to `edgefleet-agent run --join-token`")
    expires_at: datetime = Field(description="end of its life, UTC")


class DeviceCreated(DeviceView):
    """A registered board and the token that enrols it."""

    join_token: str = Field(description="one-time token, ejt_..., shown this once")
    join_token_expires_at: datetime = Field(description="end of the token's life, UTC")
