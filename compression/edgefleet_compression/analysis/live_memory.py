"""Activations alive at once while a network runs, told by the life of their storages."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type its modes
    """Counts the bytes of storages that operators make, until each is freed."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._live: dict[int, int] = {}
        self.peak = 0

    def note(self, tensor: Tensor) -> None:
        """Count the tensor's storage unless it is a parameter's or counted already."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known or key in self._live:
            return
        self._live[key] = storage.nbytes()
        weakref.finalize(storage, self._live.pop, key, None)
        self.peak = max(self.peak, sum(self._live.values()))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self.note(leaf)
        return output


def peak_activation_bytes(model: nn.Module, example: Tensor) -> int:
    """Return the largest sum of bytes of input and operators' outputs alive at once, in eval mode without gradients.

    example: one sample (1, ...).
    """
    counter = _LiveBytes([*model.parameters(), *model.buffers()])
    counter.note(example)
    with torch.no_grad(), counter:
        model(example)
    return counter.peak
