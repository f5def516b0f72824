"""Schedules: how a quantity (sparsity) goes from its first to its last value while training. Torch-free."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from edgefleet_compression.passes.specs import ScheduleName
from edgefleet_compression.schedules.cubic import Cubic
from edgefleet_compression.schedules.one_shot import OneShot
from edgefleet_compression.schedules.state import TrainingState


class Schedule(Protocol):
    """Target value at a moment of training."""

    def target(self, state: TrainingState) -> float:
        """Return the value that holds from this step on."""


ScheduleFactory = Callable[[float, float, float, float], Schedule]
"""(first value, last value, start fraction, end fraction) -> schedule."""

SCHEDULES: Final[Mapping[ScheduleName, ScheduleFactory]] = MappingProxyType({"one_shot": OneShot, "cubic": Cubic})
"""Schedule by the name it has in a spec."""
