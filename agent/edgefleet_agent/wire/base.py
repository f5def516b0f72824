from typing import Any

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION = 2
"""Version of the agent protocol. 2: agents name their start and number their claims, and may be offered an update."""

MINIMUM_PROTOCOL = 1
"""The oldest version that a controller still understands; it answers 426 to an older one."""

REPORT_VERSION = 1
"""Version of the report document, stored with every report."""

JsonObject = dict[str, Any]


class Wire(BaseModel):
    """A frozen message; unknown fields are refused, so that a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
