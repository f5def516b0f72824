"""Paces: how far along its curve a schedule is, by the clock or by how training goes.

An adaptive pace still has a deadline: over the last part of its window the progress follows the clock, so that the asked
value is always reached.
"""

from typing import Final, Protocol

from edgefleet_compression.passes.specs import ClockPace, ConvergencePace, Pace, PlateauPace
from edgefleet_compression.schedules.state import TrainingState

DEADLINE_SHARE: Final = 0.3
"""Last part of the window in which an adaptive pace catches up with the clock."""


class PaceMaker(Protocol):
    """Progress at a moment of training; never falls."""

    def progress(self, state: TrainingState) -> float:
        """Return 0..1."""


class Clock:
    """Even progress from the start to the end of the window, both shares of the budget."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end

    def progress(self, state: TrainingState) -> float:
        """Return the share of the window that is over."""
        return min(max((state.fraction - self.start) / (self.end - self.start), 0.0), 1.0)


class Plateau:
    """One level at the start, and the next each time the validation accuracy has stopped rising (Prechelt 1998).

    An evaluation is better when it exceeds the best since the last level by ``min_delta``; after ``patience`` evaluations
    without a better one the next level follows.
    """

    def __init__(self, spec: PlateauPace, start: float, end: float) -> None:
        self.spec, self._clock = spec, Clock(start, end)

    def progress(self, state: TrainingState) -> float:
        """Return the share of the levels reached."""
        level, waited, best = 1, 0, -1.0
        for point in state.since(self._clock.start):
            if point.validation_accuracy > best + self.spec.min_delta:
                best, waited = point.validation_accuracy, 0
            else:
                waited += 1
            if waited >= self.spec.patience:
                level, waited, best = level + 1, 0, -1.0
        return max(min(1.0, level / self.spec.n_levels), _catch_up(self._clock, state))


class Convergence:
    """Follows the training loss: done when its moving average has fallen to ``loss_ratio`` of its first value."""

    def __init__(self, spec: ConvergencePace, start: float, end: float) -> None:
        self.spec, self._clock = spec, Clock(start, end)

    def progress(self, state: TrainingState) -> float:
        """Return the largest share of the wanted fall that was seen so far."""
        points = state.since(self._clock.start)
        reached = 0.0
        average = first = points[0].train_loss if points else 0.0
        for point in points:
            average = self.spec.smoothing * average + (1.0 - self.spec.smoothing) * point.train_loss
            if first > 0:
                reached = max(reached, (1.0 - average / first) / (1.0 - self.spec.loss_ratio))
        return max(min(1.0, reached), _catch_up(self._clock, state))


def _catch_up(clock: Clock, state: TrainingState) -> float:
    return min(1.0, max(0.0, (clock.progress(state) - (1.0 - DEADLINE_SHARE)) / DEADLINE_SHARE))


def make_pace(spec: Pace, start: float, end: float) -> PaceMaker:
    """Return the pace of a spec over the window from start to end, shares of the budget."""
    if isinstance(spec, PlateauPace):
        return Plateau(spec, start, end)
    if isinstance(spec, ConvergencePace):
        return Convergence(spec, start, end)
    assert isinstance(spec, ClockPace)
    return Clock(start, end)
