"""Accuracy of a torch network on a split."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.data.dataset import Array, Split
from edgefleet_compression.errors import DataInvalid

BATCH: Final = 512
UINT8_SCALE: Final = 255.0


@dataclass(frozen=True)
class Evaluation:
    """Top-1 over ``n`` samples."""

    n_correct: int
    n: int
    loss: float
    """Mean cross-entropy in nats."""

    @property
    def accuracy(self) -> float:
        """Share of correct samples, 0..1."""
        return self.n_correct / self.n


def as_tensor(x: Array) -> Tensor:
    """Return samples as float32; uint8 (an image as stored) is scaled to 0..1."""
    tensor = torch.from_numpy(x)
    return tensor.to(torch.float32) / UINT8_SCALE if tensor.dtype == torch.uint8 else tensor.to(torch.float32)


def predict_logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return logits (n, n_classes) of all samples, in eval mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(batch) for batch in torch.split(x, BATCH)])


def evaluate(model: nn.Module, split: Split) -> Evaluation:
    """Return top-1 accuracy and mean loss on a split; raises DataInvalid without labels or samples."""
    if split.y is None or len(split) == 0:
        raise DataInvalid("Accuracy needs samples with labels.", code="labels_missing")
    logits = predict_logits(model, as_tensor(split.x))
    y = torch.from_numpy(split.y)
    return Evaluation(
        n_correct=int((logits.argmax(dim=1) == y).sum()), n=len(y), loss=float(F.cross_entropy(logits, y))
    )
