"""Counts of a network: parameters, multiply-accumulates, zeros."""

import copy
from typing import Final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgefleet_compression.evaluate import example_input
from edgefleet_compression.records import Stats
from edgefleet_compression.structure import InputSpec

FLOPS_PER_MAC: Final = 2
"""torch's counter counts a multiply and an add as two operations (torch/utils/flop_counter.py, ``mm_flop``)."""


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, input_shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> int:
    """Return the multiply-accumulates of one sample of ``input_shape`` (without batch): convolutions, matrix products."""
    probe = copy.deepcopy(model).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        probe(torch.zeros(1, *input_shape, dtype=dtype))
    return int(counter.get_total_flops()) // FLOPS_PER_MAC


def weight_sparsity(model: nn.Module) -> float:
    """Return the share of exact zeros among the weights of convolutions and linear layers."""
    weights = [module.weight for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    total = sum(weight.numel() for weight in weights)
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / total if total else 0.0


def count_network(model: nn.Module, spec: InputSpec) -> Stats:
    """Return all counts of a network with this input."""
    return count_stats(model, spec.shape, example_input(spec).dtype)


def count_stats(model: nn.Module, input_shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Stats:
    """Return all counts of a network that takes samples of this shape (without batch) and type."""
    return Stats(
        n_parameters=count_parameters(model),
        macs=count_macs(model, input_shape, dtype),
        sparsity=weight_sparsity(model),
    )
