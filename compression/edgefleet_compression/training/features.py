"""Activations at points that two networks of different width or depth have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

PENULTIMATE: Final = "penultimate"
"""Point of the head's input, (n, features)."""


@dataclass(frozen=True)
class Point:
    """A place in a network: the input of this layer, with its number of channels."""

    layer: str
    n_channels: int


def find_points(model: nn.Module, example: Tensor) -> dict[str, Point]:
    """Return the points of a network by their common name.

    A point ``HxW`` is the input of the first convolution that leaves this resolution (the end of a stage), the last one
    ``penultimate``, the input of the last linear layer. Names of layers stay the same when BatchNorm is folded.
    """
    seen: list[tuple[str, nn.Module, tuple[int, ...], tuple[int, ...]]] = []

    def record(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append((name, module, tuple(args[0].shape), tuple(output.shape)))

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_hook(record(name)) for name, module in layers]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(example)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    points: dict[str, Point] = {}
    for name, module, before, after in seen[1:]:  # the first layer's input is the image itself
        if isinstance(module, nn.Conv2d) and before[2:] != after[2:]:
            points.setdefault(f"{before[2]}x{before[3]}", Point(name, before[1]))
        if isinstance(module, nn.Linear) and len(before) == 2:
            points[PENULTIMATE] = Point(name, before[1])
    return points


class FeatureReader:
    """Keeps the inputs of the named layers at each forward pass; ``close`` takes the hooks off again."""

    def __init__(self, model: nn.Module, points: Mapping[str, Point]) -> None:
        self.values: dict[str, Tensor] = {}
        self._handles = [self._hook(model.get_submodule(point.layer), name) for name, point in points.items()]

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, module: nn.Module, name: str) -> RemovableHandle:
        def keep(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
            self.values[name] = args[0]

        return module.register_forward_pre_hook(keep)
