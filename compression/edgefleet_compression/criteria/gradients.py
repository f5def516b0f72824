"""Gradients of the labels' loss at the weights, on samples of the training split."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.criteria.scene import Scene
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import as_tensor

GRADIENT_SAMPLES: Final = 512
"""Training samples that a gradient is averaged over; more change a ranking little and cost in proportion."""

GRADIENT_BATCH: Final = 64


@dataclass(frozen=True)
class Samples:
    """Some of the training split: samples (n, ...), labels (n,) and their positions (n,)."""

    x: Tensor
    y: Tensor
    indices: Tensor

    def first(self, n: int) -> "Samples":
        """Return the first n."""
        return Samples(self.x[:n], self.y[:n], self.indices[:n])


def labelled_samples(scene: Scene, *, criterion: str) -> Samples:
    """Return up to GRADIENT_SAMPLES of the training split, drawn by the seed.

    Raises PassRefused ``criterion_needs_data`` where there are none.
    """
    data = scene.data
    if data is None or data.train.y is None or len(data.train) == 0:
        raise PassRefused(
            f"The criterion {criterion} needs labelled training data: give the model a data set, or choose "
            "magnitude_l1, magnitude_l2 or synflow.",
            code="criterion_needs_data",
            detail={"criterion": criterion},
        )
    chosen = torch.randperm(len(data.train), generator=scene.generator)[:GRADIENT_SAMPLES]
    place, y = scene.example.device, torch.from_numpy(data.train.y[chosen.numpy()])
    return Samples(as_tensor(data.train.x[chosen.numpy()]).to(place), y.to(place), chosen)


def unlabelled_samples(scene: Scene, *, criterion: str) -> Tensor:
    """Return up to GRADIENT_SAMPLES samples (n, ...) of the training split, drawn by the seed.

    Raises PassRefused ``criterion_needs_data`` where there are none.
    """
    if scene.data is None or len(scene.data.train) == 0:
        raise PassRefused(
            f"The criterion {criterion} needs training samples: give the model a data set, or choose magnitude_l1, "
            "magnitude_l2 or synflow.",
            code="criterion_needs_data",
            detail={"criterion": criterion},
        )
    chosen = torch.randperm(len(scene.data.train), generator=scene.generator)[:GRADIENT_SAMPLES]
    return as_tensor(scene.data.train.x[chosen.numpy()])


def batch_gradients(
    weights: Mapping[str, Tensor], scene: Scene, samples: Samples, *, batch_size: int = GRADIENT_BATCH
) -> Iterator[dict[str, Tensor]]:
    """Yield name -> gradient of the mean loss of each batch; the network is in eval mode meanwhile."""
    parts = (torch.split(tensor, batch_size) for tensor in (samples.x, samples.y, samples.indices))
    with at_rest(scene.model):
        for x, y, indices in zip(*parts, strict=True):
            yield gradients_of(scene.loss(scene.model, x, y, indices), weights)


def gradients_of(
    loss: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False, retain_graph: bool | None = None
) -> dict[str, Tensor]:
    """Return name -> d loss / d weight; zeros where the loss does not depend on a weight."""
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        loss, list(weights.values()), retain_graph=retain_graph, create_graph=create_graph, allow_unused=True
    )
    pairs = zip(weights.items(), found, strict=True)
    return {name: torch.zeros_like(weight) if grad is None else grad for (name, weight), grad in pairs}


def mean_over_batches(
    batches: Iterator[dict[str, Tensor]], value_of: Callable[[str, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return name -> mean over the batches of ``value_of(name, gradient)``."""
    total: dict[str, Tensor] = {}
    n_batches = 0
    for gradients in batches:
        n_batches += 1
        for name, gradient in gradients.items():
            value = value_of(name, gradient.detach())
            total[name] = total[name] + value if name in total else value
    return {name: value / n_batches for name, value in total.items()}


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Eval mode: BatchNorm uses its running statistics and keeps them."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
