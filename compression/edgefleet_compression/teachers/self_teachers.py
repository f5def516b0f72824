"""Teachers made of the training's own past. They start empty: until then the labels teach alone."""

import copy
from collections import deque

import torch
from torch import nn

from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.ingredient import Run


def _frozen_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval().requires_grad_(False)


class MovingAverageTeacher(Teacher):
    """The exponential moving average of the weights (Tarvainen & Valpola 2017, arXiv:1703.01780, equation 2)."""

    def __init__(self, decay: float) -> None:
        """``decay``: share of the old average at each step, 0..1."""
        self._decay = decay
        self._source: nn.Module | None = None
        self._average: nn.Module | None = None

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The averaged network."""
        return () if self._average is None else (self._average,)

    def after_step(self, run: Run) -> None:
        """Move the average; another network (after folding) begins a new one."""
        if self._average is None or run.model is not self._source:
            self._source, self._average = run.model, _frozen_copy(run.model)
            return
        with torch.no_grad():
            for old, new in zip(self._average.state_dict().values(), run.model.state_dict().values(), strict=True):
                if old.is_floating_point():
                    old.lerp_(new, 1.0 - self._decay)
                else:
                    old.copy_(new)


class BestCheckpointTeacher(Teacher):
    """The network of the best validation accuracy so far (progressive self-distillation: Kim et al. 2021, arXiv:2006.12000)."""

    def __init__(self, refresh_epochs: int) -> None:
        """``refresh_epochs``: epochs between two looks."""
        self._refresh_epochs = refresh_epochs
        self._best: nn.Module | None = None
        self._accuracy = -1.0

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The best network."""
        return () if self._best is None else (self._best,)

    def after_evaluation(self, run: Run) -> None:
        """Take the network if it is better than all before."""
        accuracy = run.history[-1].validation_accuracy
        if len(run.history) % self._refresh_epochs == 0 and accuracy > self._accuracy:
            self._best, self._accuracy = _frozen_copy(run.model), accuracy


class EnsembleTeacher(Teacher):
    """The last checkpoints together (temporal ensembling of networks: Laine & Aila 2017, arXiv:1610.02242)."""

    def __init__(self, refresh_epochs: int, n_checkpoints: int) -> None:
        """``refresh_epochs``: epochs between two checkpoints; ``n_checkpoints``: how many are kept."""
        self._refresh_epochs = refresh_epochs
        self._last: deque[nn.Module] = deque(maxlen=n_checkpoints)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The last checkpoints, oldest first."""
        return tuple(self._last)

    def after_evaluation(self, run: Run) -> None:
        """Keep a copy."""
        if len(run.history) % self._refresh_epochs == 0:
            self._last.append(_frozen_copy(run.model))
