"""How much each layer still moves while training: its gradients against its weights, and its activations."""

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgefleet_compression.checkpoints import State

SMOOTHING: Final = 0.9
"""Share of the past in the moving averages."""

FLOOR: Final = 1e-3
"""Least activity, as a share of the mean over layers: a layer at rest still counts a little."""


class LayerDynamics:
    """Moving averages per layer of |g| / |w| and of the relative change of the mean absolute activation."""

    def __init__(self) -> None:
        self._gradient: dict[str, float] = {}
        self._change: dict[str, float] = {}
        self._level: dict[str, float] = {}
        self._handles: list[RemovableHandle] = []

    def watch(self, layers: Mapping[str, nn.Module]) -> None:
        """Hook the layers' outputs for one step."""
        self._handles = [layer.register_forward_hook(self._note(name)) for name, layer in layers.items()]

    def release(self, weights: Mapping[str, Tensor]) -> None:
        """Take the hooks off and read the step's gradients."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for name, weight in weights.items():
            if weight.grad is not None:
                ratio = float(weight.grad.norm() / weight.detach().norm().clamp(min=1e-12))
                self._gradient[name] = _follow(self._gradient.get(name), ratio)

    def activity(self, names: Mapping[str, Any]) -> dict[str, float]:
        """Return name -> activity: gradient and activation shares, each over its mean over layers, added."""
        parts = [
            _relative({name: source.get(name, 0.0) for name in names}) for source in (self._gradient, self._change)
        ]
        return {name: max(sum(part[name] for part in parts), FLOOR) for name in names}

    def state(self) -> State:
        """Return the averages."""
        return {"gradient": self._gradient, "change": self._change, "level": self._level}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._gradient, self._change, self._level = state["gradient"], state["change"], state["level"]

    def _note(self, name: str) -> Any:
        def hook(_module: nn.Module, _args: tuple[Tensor, ...], output: Tensor) -> None:
            level = float(output.detach().abs().mean())
            before = self._level.get(name)
            if before:
                self._change[name] = _follow(self._change.get(name), abs(level - before) / before)
            self._level[name] = level

        return hook


def _follow(old: float | None, new: float) -> float:
    return new if old is None else SMOOTHING * old + (1.0 - SMOOTHING) * new


def _relative(values: Mapping[str, float]) -> dict[str, float]:
    mean = sum(values.values()) / len(values)
    return {name: value / mean if mean > 0 else 1.0 for name, value in values.items()}
