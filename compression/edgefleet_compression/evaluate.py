"""Accuracy of a torch network on a split."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.data.dataset import Array, Split
from edgefleet_compression.errors import DataInvalid
from edgefleet_compression.structure import InputSpec

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
    """Return samples as float32; uint8 (an image as stored) is scaled to 0..1, int64 (token ids) stays as it is."""
    tensor = torch.from_numpy(x)
    if tensor.dtype == torch.int64:
        return tensor
    return tensor.to(torch.float32) / UINT8_SCALE if tensor.dtype == torch.uint8 else tensor.to(torch.float32)


def example_input(spec: InputSpec, *, n_samples: int = 1) -> Tensor:
    """Return a batch of zeros (n_samples, ...) of the network's input type: it shows shapes, not values."""
    dtype = torch.int64 if spec.dtype == "int64" else torch.float32
    return torch.zeros(n_samples, *spec.shape, dtype=dtype)


def random_input(spec: InputSpec, *, n_samples: int, generator: torch.Generator) -> Tensor:
    """Return standard-normal samples (n_samples, ...), or token ids drawn evenly from all but padding."""
    if spec.n_values is None:
        return torch.randn(n_samples, *spec.shape, generator=generator)
    return torch.randint(1, spec.n_values, (n_samples, *spec.shape), generator=generator)


def predict_logits(model: nn.Module, x: Tensor) -> Tensor:
    """Return logits (n, n_classes) of all samples on the CPU, computed in eval mode on the network's own device."""
    model.eval()
    place = next((parameter.device for parameter in model.parameters()), x.device)
    with torch.no_grad():
        return torch.cat([model(batch.to(place)).cpu() for batch in torch.split(x, BATCH)])


def evaluate(model: nn.Module, split: Split) -> Evaluation:
    """Return top-1 accuracy and mean loss on a split; raises DataInvalid without labels or samples."""
    if split.y is None or len(split) == 0:
        raise DataInvalid("Accuracy needs samples with labels.", code="labels_missing")
    logits = predict_logits(model, as_tensor(split.x))
    y = torch.from_numpy(split.y)
    return Evaluation(
        n_correct=int((logits.argmax(dim=1) == y).sum()), n=len(y), loss=float(F.cross_entropy(logits, y))
    )
