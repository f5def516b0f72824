"""How far a batch's activations are from the statistics that a network's BatchNorm layers have kept."""

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from edgefleet_compression.errors import PassRefused


class StatisticsLoss:
    """Inside its ``with`` block every forward pass of the network leaves a loss behind.

    Mean over layers and channels of (mean - running mean)^2 + (std - running std)^2 (ZeroQ, Cai et al. 2020,
    arXiv:2001.00281, equation 3, averaged so that wide layers do not drown the others).
    """

    def __init__(self, model: nn.Module) -> None:
        self._norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        if not any(norm.running_mean is not None for norm in self._norms):
            raise PassRefused(
                "The network has no BatchNorm statistics to make images from: give it a data set, or calibrate with source "
                "random.",
                code="no_batchnorm",
            )
        self._parts: list[Tensor] = []
        self._handles: list[Any] = []

    def __enter__(self) -> "StatisticsLoss":
        self._handles = [norm.register_forward_pre_hook(self._compare) for norm in self._norms]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self) -> Tensor:
        """Return the loss of the forward pass since the last call."""
        loss = torch.stack(self._parts).mean()
        self._parts = []
        return loss

    def forget(self) -> None:
        """Drop what forward passes left that nobody took."""
        self._parts = []

    def _compare(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0]
        mean, deviation = module.running_mean, module.running_var
        if not isinstance(mean, Tensor) or not isinstance(deviation, Tensor):
            return
        found_mean = x.mean(dim=(0, 2, 3))
        found_deviation = (x.var(dim=(0, 2, 3), unbiased=False) + 1e-8).sqrt()
        gap = (found_mean - mean).square() + (found_deviation - deviation.sqrt()).square()
        self._parts.append(gap.mean())
