"""What can be removed from a transformer encoder layer: whole attention heads, and neurons of the feed-forward part.

The residual width stays: every layer, LayerNorm and embedding shares it. Torch-Pruning does not follow channels through
the reshaping of heads, so these two kinds of groups are told from the layer's own structure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from edgefleet_compression.layers import replace_module_
from edgefleet_compression.models.transformer import EncoderLayer
from edgefleet_compression.records import Skip


@dataclass(frozen=True)
class EncoderGroup:
    """Units of one encoder layer: heads of its attention, or neurons of its feed-forward part.

    ``producers`` lose rows, ``consumer`` loses the matching columns; a unit is ``unit_width`` of them.
    """

    kind: Literal["heads", "neurons"]
    producers: tuple[str, ...]
    consumer: str
    unit_width: int
    n_units: int

    @property
    def root(self) -> str:
        """The layer that the group is named after."""
        return self.producers[0]

    def unit_scores(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Return one score per unit (n_units,): the sum over the producers' rows."""
        rows = torch.stack([scores[name].sum(dim=1) for name in self.producers]).sum(dim=0)
        return rows.view(self.n_units, self.unit_width).sum(dim=1)

    def remove_(self, model: nn.Module, units: Sequence[int]) -> None:
        """Remove these units from the network, in place."""
        doomed = set(units)
        kept = [unit for unit in range(self.n_units) if unit not in doomed]
        channels = torch.tensor([unit * self.unit_width + place for unit in kept for place in range(self.unit_width)])
        for name in self.producers:
            replace_module_(model, name, _with_rows(_linear(model, name), channels))
        replace_module_(model, self.consumer, _with_columns(_linear(model, self.consumer), channels))


def encoder_groups(model: nn.Module) -> tuple[list[EncoderGroup], list[Skip]]:
    """Return the groups of every encoder layer, and the layers that cannot be narrowed with the reason."""
    groups: list[EncoderGroup] = []
    skipped: list[Skip] = []
    for name, layer in model.named_modules():
        if not isinstance(layer, EncoderLayer):
            continue
        attention = layer.attention
        producers = tuple(f"{name}.attention.{part}" for part in ("query", "key", "value"))
        candidates = (
            EncoderGroup("heads", producers, f"{name}.attention.out", attention.head_width, attention.n_heads),
            EncoderGroup("neurons", (f"{name}.up",), f"{name}.down", 1, _n_out(layer.up)),
        )
        for group in candidates:
            split = [part for part in (*group.producers, group.consumer) if not _is_linear(model, part)]
            skipped += [Skip(layer=part, reason="was split into two layers by low_rank") for part in split]
            groups += [] if split else [group]
    return groups, skipped


def _n_out(module: nn.Module) -> int:
    return [part for part in module.modules() if isinstance(part, nn.Linear)][-1].out_features


def _is_linear(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name), nn.Linear)


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _with_rows(layer: nn.Linear, rows: Tensor) -> nn.Linear:
    return _filled(layer, layer.weight[rows], layer.bias[rows])


def _with_columns(layer: nn.Linear, columns: Tensor) -> nn.Linear:
    return _filled(layer, layer.weight[:, columns], layer.bias)


def _filled(layer: nn.Linear, weight: Tensor, bias: Tensor) -> nn.Linear:
    n_out, n_in = weight.shape
    narrow = nn.Linear(n_in, n_out, device=weight.device)
    with torch.no_grad():
        narrow.weight.copy_(weight)
        narrow.bias.copy_(bias)
    return narrow.train(layer.training)
