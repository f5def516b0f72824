"""Documents of ``/v1/workers``."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class WorkerView(BaseModel):
    """A worker process."""

    model_config = ConfigDict(from_attributes=True)
    name: str = Field(description="stable name")
    state: Literal["active", "stopped", "dead"] = Field(description="dead: silent for too long, others got its work")
    queues: list[str] = Field(description="queues that it takes tasks from: jobs, cpu, gpu, compile")
    host: str = Field(description="host name")
    version: str = Field(description="version of edgefleet")
    started_at: datetime = Field(description="when it was started last, UTC")
    heartbeat_at: datetime = Field(description="when it was heard of last, UTC, by the database's clock")


class Workers(BaseModel):
    """All workers by name."""

    items: list[WorkerView] = Field(description="by name")
