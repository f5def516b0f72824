"""Images whose pixels are optimised until the network's BatchNorm layers see what they saw in training (ZeroQ)."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.child import Emit
from edgefleet_compression.datafree.statistics import StatisticsLoss
from edgefleet_compression.passes.specs import Synthesis

LEARNING_RATE: Final = 0.1
"""Adam on pixels of about unit variance, as in the authors' code of ZeroQ (distill_data.py: lr 0.1)."""


def optimise_images(
    model: nn.Module, shape: tuple[int, ...], n_classes: int, spec: Synthesis, *, seed: int, emit: Emit
) -> Tensor:
    """Return images (n_samples, ...) from standard normal noise; the network's parameters must not need gradients."""
    generator = torch.Generator().manual_seed(seed)
    made: list[Tensor] = []
    n_batches = -(-spec.n_samples // spec.batch_size)
    with StatisticsLoss(model) as statistics:
        for index in range(n_batches):
            emit(index / n_batches, f"images {index * spec.batch_size} of {spec.n_samples}")
            labels = torch.randint(0, n_classes, (spec.batch_size,), generator=generator)
            start = torch.randn(spec.batch_size, *shape, generator=generator)
            made.append(_optimise(model, start, labels, spec, statistics))
    return torch.cat(made)[: spec.n_samples]


def _optimise(model: nn.Module, start: Tensor, labels: Tensor, spec: Synthesis, statistics: StatisticsLoss) -> Tensor:
    images = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=LEARNING_RATE)
    for _ in range(spec.steps):
        logits = model(images)
        loss = statistics.take() + spec.label_weight * F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return images.detach()
