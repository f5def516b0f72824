"""What a schedule may read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Checkpoint:
    """What was known at the end of an epoch."""

    step: int
    train_loss: float
    """Mean over the epoch's batches."""
    validation_accuracy: float


@dataclass(frozen=True)
class TrainingState:
    """A moment of training; adaptive paces read the history."""

    step: int
    n_steps: int
    history: tuple[Checkpoint, ...] = ()

    @property
    def fraction(self) -> float:
        """Share of the budget that is over, 0..1."""
        return self.step / self.n_steps

    def since(self, start: float) -> tuple[Checkpoint, ...]:
        """Return the checkpoints after this share of the budget."""
        return tuple(point for point in self.history if point.step > start * self.n_steps)
