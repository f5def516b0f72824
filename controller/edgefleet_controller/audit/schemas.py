"""Documents of ``/v1/audit``."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_controller.pagination import PageRequest


class AuditRequest(PageRequest):
    """Which entries are wanted."""

    object_id: str | None = Field(default=None, max_length=200, description="only those about this object")
    actor: str | None = Field(default=None, max_length=200, description="only those of this user, token or device")


class AuditView(BaseModel):
    """One change, or one refused attempt."""

    model_config = ConfigDict(from_attributes=True)
    id: int = Field(description="number, rises")
    at: datetime = Field(description="when, UTC")
    actor_kind: str = Field(description="operator_token, user, api_token, device or anonymous")
    actor: str = Field(description="who: user, user/token, or identifier of the device")
    action: str = Field(description="route, such as POST /v1/jobs")
    object_kind: str | None = Field(description="table of the changed row; null where nothing was changed")
    object_id: str | None = Field(description="its key")
    project_id: str | None = Field(description="its project")
    before_sha256: str | None = Field(description="hash of the row before; null for a new one")
    after_sha256: str | None = Field(description="hash of the row after; null for a deleted one")
    address: str | None = Field(description="IP address that the request came from")
    detail: dict[str, Any] = Field(description="its name, or what was refused")
    previous_sha256: str = Field(description="hash of the entry before")
    entry_sha256: str = Field(description="hash of this entry, over all of the above but its number")


class AuditCheck(BaseModel):
    """Whether the chain of hashes is whole."""

    n_entries: int = Field(description="entries in the log")
    first_broken: int | None = Field(description="number of the first entry that was changed, or follows a missing one")
    last_sha256: str = Field(description="hash of the newest entry; keep it elsewhere to notice a log that was cut off")
