"""What a run needs of the device that takes it, where nobody named the device; pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgefleet_controller.dispatch.runtime_versions import is_new_enough

if TYPE_CHECKING:
    from edgefleet_controller.dispatch.roster import Card


class Requirement(BaseModel):
    """Conditions that all have to hold; one that is left out is met by every device."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    boards: tuple[str, ...] = Field(default=(), max_length=32, description="kinds of board, one of which it has to be")
    runtime: str | None = Field(default=None, max_length=64, description="runtime its agent has to have found")
    min_runtime_version: str | None = Field(default=None, max_length=64, description="oldest version of the runtime")
    labels: dict[str, str] = Field(default_factory=dict, max_length=64, description="labels it has to carry")
    min_memory_bytes: int | None = Field(default=None, ge=0, description="least memory of the board")
    needs_sensor: bool = Field(default=False, description="whether it has to measure energy")
    kind: str | None = Field(default=None, max_length=32, description="physical, simulated, emulated or replay")
    project_id: str | None = Field(default=None, max_length=64, description="project that the device belongs to")

    @model_validator(mode="after")
    def _names_the_runtime(self) -> Self:
        if self.min_runtime_version is not None and self.runtime is None:
            raise ValueError("min_runtime_version needs runtime: of which one it is the version")
        return self

    @property
    def document(self) -> dict[str, Any]:
        """What is stored, without conditions that were left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def sha256(self) -> str:
        """Its name: equal requirements are one."""
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def why_not(self, card: "Card") -> str | None:
        """What the device lacks, for a person; None if it lacks nothing."""
        if self.boards and not card.boards & set(self.boards):
            return f"is no {' or '.join(self.boards)}"
        lack = self._runtime_lack(card)
        if lack is not None:
            return lack
        if self.min_memory_bytes is not None and card.memory_bytes < self.min_memory_bytes:
            return f"has {card.memory_bytes:,} bytes of memory, not {self.min_memory_bytes:,}"
        if self.needs_sensor and not card.has_sensor:
            return "has no power sensor"
        if self.kind is not None and card.kind != self.kind:
            return f"is {card.kind}, not {self.kind}"
        if self.project_id is not None and card.project_id != self.project_id:
            return "belongs to another project"
        return _missing_label(self.labels, card.labels)

    def _runtime_lack(self, card: "Card") -> str | None:
        if self.runtime is None:
            return None
        found = sorted(version for name, version in card.runtimes if name == self.runtime)
        if not found:
            return f"has no {self.runtime}"
        if is_new_enough(self.runtime, self.min_runtime_version, found):
            return None
        return f"has {self.runtime} {', '.join(found)}, not {self.min_runtime_version} or newer"

    def is_met_by(self, card: "Card") -> bool:
        """Whether the device lacks nothing."""
        return self.why_not(card) is None


def _missing_label(wanted: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    missing = [f"{name}={value}" for name, value in wanted.items() if found.get(name) != value]
    return f"has no label {', '.join(missing)}" if missing else None
