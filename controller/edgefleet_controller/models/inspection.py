"""Looks into a model file in a child process with limits; the file comes from outside and is not trusted."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgefleet_controller.engine.child_process import ChildLimits, StepFailed, run_child_step
from edgefleet_controller.models.errors import InspectionFailed, ModelRefused
from edgefleet_controller.settings import Settings

STEP_MODULE = "edgefleet_compression.step"
MAX_PROCESSES = 4096
"""Processes and threads of the controller's user, all together: ends a fork bomb, and leaves room for trainings."""

_OURS = ("step_crashed", "step_timed_out", "step_protocol", "step_cpu_time_exceeded", "step_out_of_memory")
"""Codes of a child that came to no answer; any other is the inspection's verdict on the file."""


class Inspector(Protocol):
    """Says what is in a model file."""

    def inspect(self, path: Path) -> dict[str, Any]:
        """Format, inputs, outputs, n_parameters, ...; ModelRefused if it is no model that can be read."""
        ...


@dataclass(frozen=True)
class ChildInspector:
    """Inspects in a child process; a bomb costs at most the limits."""

    limits: ChildLimits
    module: str = STEP_MODULE

    @classmethod
    def from_settings(cls, settings: Settings) -> "ChildInspector":
        """With the limits that are set."""
        limits = ChildLimits(
            timeout_s=settings.inspect_timeout_s,
            file_size_bytes=0,
            address_space_bytes=settings.inspect_memory_bytes,
            cpu_s=settings.inspect_cpu_s,
            n_processes=MAX_PROCESSES,
            n_open_files=1024,
        )
        return cls(limits)

    def inspect(self, path: Path) -> dict[str, Any]:
        """Run the step and translate its outcome."""
        request = {"task": "inspect", "model": str(path)}
        try:
            return asyncio.run(run_child_step(self.module, request, on_event=_ignore, limits=self.limits))
        except StepFailed as err:
            if err.code in _OURS:
                raise InspectionFailed(f"The inspection of the model gave no answer: {err.message}.") from err
            raise ModelRefused(err.code, err.message) from err


def _ignore(_event: dict[str, Any]) -> None:
    """An inspection is short; its progress interests nobody."""
