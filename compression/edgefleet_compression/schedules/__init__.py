"""Schedules: how a quantity (sparsity) goes from its first to its last value while training. Torch-free.

A schedule is a curve (which values) walked at a pace (when): by the clock, by plateaus, or by the loss.
"""

from dataclasses import dataclass

from edgefleet_compression.passes.specs import Pace, ScheduleName
from edgefleet_compression.schedules.curves import CURVES
from edgefleet_compression.schedules.paces import PaceMaker, make_pace
from edgefleet_compression.schedules.state import Checkpoint, TrainingState

__all__ = ["CURVES", "Checkpoint", "Schedule", "TrainingState", "make_schedule"]


@dataclass(frozen=True)
class Schedule:
    """Value at a moment of training; ``start`` is a share of the budget."""

    first: float
    last: float
    start: float
    curve: ScheduleName
    pace: PaceMaker

    def target(self, state: TrainingState) -> float:
        """Return the value that holds from this step on."""
        if state.fraction < self.start:
            return self.first
        return CURVES[self.curve](self.first, self.last, self.pace.progress(state))


def make_schedule(curve: ScheduleName, pace: Pace, *, first: float, last: float, start: float, end: float) -> Schedule:
    """Return the schedule from ``first`` to ``last`` within the window from start to end, shares of the budget."""
    return Schedule(first, last, start, curve, make_pace(pace, start, end))
