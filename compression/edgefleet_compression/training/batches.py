"""The order of the training samples, which can be left and taken up anywhere."""

import torch
from torch import Tensor

from edgefleet_compression.checkpoints import State


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """Return the batches of one pass; a last batch of one sample is left out (BatchNorm needs two)."""
    full, rest = divmod(n_samples, batch_size)
    return max(1, full + (1 if rest > 1 else 0))


class Batches:
    """Shuffled mini-batches; every pass over the samples has its own order, drawn when it begins."""

    def __init__(self, n_samples: int, batch_size: int, generator: torch.Generator) -> None:
        self._n_samples, self._batch_size, self._generator = n_samples, batch_size, generator
        self._order: Tensor | None = None
        self._place = 0
        self._n_per_epoch = steps_per_epoch(n_samples, batch_size)

    def take(self) -> Tensor:
        """Return the indices of the next batch."""
        if self._order is None or self._place == self._n_per_epoch:
            self._order, self._place = torch.randperm(self._n_samples, generator=self._generator), 0
        start = self._place * self._batch_size
        self._place += 1
        return self._order[start : start + self._batch_size]

    def state(self) -> State:
        """Return the present order and the place in it; the generator is the caller's."""
        return {"order": self._order, "place": self._place}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._order, self._place = state["order"], int(state["place"])
