"""What a schedule may read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingState:
    """A moment of training; adaptive schedules read the validation history."""

    step: int
    n_steps: int
    validation_accuracy: tuple[float, ...] = ()
    """After each epoch so far."""

    @property
    def fraction(self) -> float:
        """Share of the budget that is over, 0..1."""
        return self.step / self.n_steps
