"""What of a network can go as a whole: residual blocks and encoder layers, and layers of plain stacks.

A block says itself what stays in its place (``bypass``); of a plain stack a layer goes with its BatchNorm and nonlinearity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

STACKS: Final = ("features", "hidden")
"""Attributes of the zoo's networks that are plain stacks: modules called one after the other."""


class Bypass(nn.Module):
    """Hands on its first input: what stands where a block or layer was."""

    def forward(self, x: Tensor, *_others: Tensor) -> Tensor:
        """Return ``x`` as it is."""
        return x


@runtime_checkable
class Block(Protocol):
    """A part of a network with a shortcut around its work."""

    def bypass(self) -> nn.Module | None:
        """Return what stays when the work is removed: ``Bypass``, or the projection on the shortcut; None without shortcut."""


@dataclass(frozen=True)
class Unit:
    """A removable part: the modules that go, and what stands in place of the first of them."""

    name: str
    members: tuple[str, ...]
    kind: Literal["identity", "projection", "plain"]
    stays: nn.Module

    def remove_(self, model: nn.Module) -> None:
        """Take it out of the network, in place."""
        for member in self.members:
            replace_(model, member, self.stays if member == self.members[0] else nn.Identity())

    def put_back_(self, model: nn.Module, modules: Sequence[nn.Module]) -> None:
        """Undo ``remove_`` with the modules that stood there, in place."""
        for member, module in zip(self.members, modules, strict=True):
            replace_(model, member, module)


def find_units(model: nn.Module) -> dict[str, Unit]:
    """Return the removable parts by name, in the network's order. A plain one may change shapes: its caller has to look."""
    units: dict[str, Unit] = {}
    for name, module in model.named_modules():
        if isinstance(module, Block):
            stays = module.bypass()
            if stays is not None:
                units[name] = Unit(name, (name,), "identity" if isinstance(stays, Bypass) else "projection", stays)
        elif name in STACKS and isinstance(module, nn.Sequential):
            units.update((unit.name, unit) for unit in _plain_layers(name, module))
    return units


def replace_(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in place of the one with this dotted name, in the same mode."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module.train(model.training))


def _plain_layers(stack_name: str, stack: nn.Sequential) -> Iterator[Unit]:
    """Yield every convolution or linear layer with the BatchNorm, nonlinearity and dropout behind it."""
    members: list[str] = []
    for name, module in stack.named_children():
        is_layer = isinstance(module, nn.Conv2d | nn.Linear | nn.Sequential)  # low_rank leaves a Sequential of two
        if (is_layer or isinstance(module, nn.MaxPool2d)) and members:
            yield Unit(members[0], tuple(members), "plain", Bypass())
            members = []
        if is_layer or members:
            members.append(f"{stack_name}.{name}")
    if members:
        yield Unit(members[0], tuple(members), "plain", Bypass())
