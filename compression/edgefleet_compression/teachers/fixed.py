"""A network that does not change: the one the recipe was given, or a larger one that was trained for this."""

from torch import Tensor, nn

from edgefleet_compression.evaluate import predict_logits
from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.ingredient import Batch


class FixedTeacher(Teacher):
    """Answers once for all training samples where they are not augmented: its logits never change then."""

    def __init__(self, model: nn.Module, *, samples: Tensor | None) -> None:
        """``samples``: all training samples if batches are taken from them unchanged, else None."""
        self._networks = (model.eval().requires_grad_(False),)
        self._logits = None if samples is None else predict_logits(model, samples)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The network."""
        return self._networks

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (n, n_classes) of the batch."""
        return super().logits(batch) if self._logits is None else self._logits[batch.indices].to(batch.x.device)
