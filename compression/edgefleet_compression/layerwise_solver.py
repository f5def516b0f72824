"""Optimal brain surgeon, layer by layer: zero some weights and move the others so that the layer's output changes least.

Hassibi & Stork 1993 for the principle; Frantar & Alistarh 2023, "SparseGPT", arXiv:2301.00774, section 3 and algorithm 1,
for the column sweep over the Cholesky factor of the inverse Hessian.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.passes.specs import SparsityStructure

DAMPING: Final = 0.01
"""Added to the Hessian's diagonal, as a share of its mean (SparseGPT, section 3.3: 1 %)."""

BLOCK: Final = 128
"""Columns whose zeros are chosen together (SparseGPT, section 4)."""


class InputMoments:
    """Sum of x x' over everything a layer multiplies its rows with: (d, d) with d = weights per output channel."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        d = layer.weight[0].numel()
        self._layer = layer
        self._sum = torch.zeros(d, d, dtype=torch.float64)
        self._n = 0

    def add(self, x: Tensor) -> None:
        """Add a batch of the layer's inputs."""
        columns = self._columns(x.detach()).double()
        self._sum += columns.T @ columns
        self._n += len(columns)

    def hessian(self) -> Tensor:
        """Return 2 / n times the sum: the Hessian of the mean squared error of one output channel."""
        return 2.0 / max(1, self._n) * self._sum

    def _columns(self, x: Tensor) -> Tensor:
        """Return (n, d): one row for every position at which the layer's weights are applied."""
        layer = self._layer
        if isinstance(layer, nn.Linear):
            return x.flatten(0, -2)
        assert not isinstance(layer.padding, str)
        patches = F.unfold(
            x,
            kernel_size=layer.kernel_size,
            dilation=layer.dilation,
            padding=layer.padding,
            stride=layer.stride,
        )
        return patches.transpose(1, 2).flatten(0, 1)


def prune_rows(weight: Tensor, hessian: Tensor, amount: float, structure: SparsityStructure) -> Tensor:
    """Return the weight (out, d) with the share ``amount`` of its entries zero and the others moved to make up for it.

    hessian: (d, d). structure: ``weights`` or N:M along the row.
    """
    rows = weight.detach().double().clone()
    hessian = hessian.clone()
    dead = hessian.diagonal() == 0  # inputs that are always zero: their weights do nothing
    hessian.diagonal()[dead] = 1.0
    hessian.diagonal().add_(DAMPING * hessian.diagonal().mean())
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    d = rows.shape[1]
    m = int(structure.partition(":")[2]) if ":" in structure else 0
    block = m or BLOCK  # N:M: each part is chosen after the errors of all before it were spread (section 3.4)
    for first in range(0, d, block):
        last = min(first + block, d)
        loss = (rows[:, first:last] / factor.diagonal()[first:last]).square() * ~dead[first:last]
        n_dropped = round(amount * len(rows) * last) - round(amount * len(rows) * first)  # blocks add up to the share
        keep = _keep_n_of_m(loss, m, round(amount * m)) if m else _keep_largest(loss, n_dropped)
        _sweep_(rows, factor, keep, first, last)
    return rows.to(weight.dtype)


def _keep_largest(loss: Tensor, n_dropped: int) -> Tensor:
    """Return what stays (True) of a block, by the error w^2 / [H^-1]_jj that losing each weight would cause."""
    keep = torch.ones(loss.numel(), dtype=torch.bool)
    keep[torch.argsort(loss.flatten(), stable=True)[:n_dropped]] = False
    return keep.view_as(loss)


def _keep_n_of_m(loss: Tensor, m: int, n_dropped: int) -> Tensor:
    """Return what stays of one part of M columns, in every row; a last part that is shorter stays whole."""
    keep = torch.ones_like(loss, dtype=torch.bool)
    if loss.shape[1] < m:
        return keep
    order = torch.argsort(loss, dim=1, stable=True)[:, :n_dropped]
    return keep.scatter_(1, order, value=False)


def _sweep_(rows: Tensor, factor: Tensor, keep: Tensor, first: int, last: int) -> None:
    """Zero the block's weights column by column and spread each one's error over the columns to its right."""
    errors = torch.zeros(len(rows), last - first, dtype=rows.dtype)
    for column in range(first, last):
        at = column - first
        error = rows[:, column] * ~keep[:, at] / factor[column, column]
        rows[:, column] *= keep[:, at]
        if column + 1 < last:
            # zeros already made stay zero: their own error was spread when their turn came
            rows[:, column + 1 : last] -= error[:, None] * factor[column, column + 1 : last][None, :]
        errors[:, at] = error
    if last < rows.shape[1]:
        rows[:, last:] -= errors @ factor[first:last, last:]
