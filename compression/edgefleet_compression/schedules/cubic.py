"""Gradual pruning that is fast at first and slow at the end."""

from dataclasses import dataclass

from edgefleet_compression.schedules.state import TrainingState


@dataclass(frozen=True)
class Cubic:
    """s(t) = s_f + (s_i - s_f) (1 - (t - t_0) / (t_1 - t_0))^3 (Zhu & Gupta 2017, arXiv:1710.01878, equation 1)."""

    first: float
    last: float
    start: float
    end: float

    def target(self, state: TrainingState) -> float:
        """Return the value of equation 1, constant before the start and after the end."""
        progress = min(max((state.fraction - self.start) / (self.end - self.start), 0.0), 1.0)
        return self.last + (self.first - self.last) * (1.0 - progress) ** 3
