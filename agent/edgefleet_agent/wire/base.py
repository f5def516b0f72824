from typing import Any

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION = 1
"""Version of the agent protocol; a controller answers 426 to an agent that speaks an older one."""

REPORT_VERSION = 1
"""Version of the report document, stored with every report."""

JsonObject = dict[str, Any]


class Wire(BaseModel):
    """A frozen message; unknown fields are refused, so that a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
