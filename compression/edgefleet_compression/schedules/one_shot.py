"""Everything at once, at the start."""

from dataclasses import dataclass

from edgefleet_compression.schedules.state import TrainingState


@dataclass(frozen=True)
class OneShot:
    """Jump from ``first`` to ``last`` at ``start``; ``end`` has no meaning here."""

    first: float
    last: float
    start: float
    end: float

    def target(self, state: TrainingState) -> float:
        """Return ``last`` from the start fraction on."""
        return self.last if state.fraction >= self.start else self.first
