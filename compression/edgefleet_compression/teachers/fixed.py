"""A network that does not change: the one the recipe was given, or a larger one that was trained for this."""

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn

from edgefleet_compression.evaluate import predict_logits
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.compute import Compute
from edgefleet_compression.training.ingredient import Batch


class FixedTeacher(Teacher):
    """Answers once for all training samples where they recur unchanged: its logits never change then."""

    def __init__(self, model: nn.Module, *, samples: Tensor | None, compute: Compute) -> None:
        """``samples``: all training samples if batches are taken from them unchanged and more than once, else None."""
        self._networks = (model.eval().requires_grad_(False),)
        # rounding to a grid is computed in float32
        self._compute = None if quantized_layers(model) else compute
        with self._arithmetic():
            self._logits = None if samples is None else predict_logits(model, samples).float()

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The network."""
        return self._networks

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (n, n_classes) of the batch."""
        if self._logits is not None:
            return self._logits[batch.indices].to(batch.x.device)
        with self._arithmetic():
            return super().logits(batch).float()

    def _arithmetic(self) -> AbstractContextManager[object]:
        return nullcontext() if self._compute is None else self._compute.autocast()
