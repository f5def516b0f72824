"""The network the recipe was given, unchanged throughout."""

from torch import Tensor, nn

from edgefleet_compression.evaluate import predict_logits


class FixedTeacher:
    """Answers once for all training samples: they are not augmented, so its logits never change."""

    def __init__(self, model: nn.Module, samples: Tensor) -> None:
        self._logits = predict_logits(model, samples)

    def logits(self, indices: Tensor) -> Tensor:
        """Return logits (n, n_classes) of the training samples at these indices."""
        return self._logits[indices]
