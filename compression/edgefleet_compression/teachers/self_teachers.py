"""Teachers made of the training's own past. They start empty: until then the labels teach alone."""

import copy
from collections import deque
from dataclasses import dataclass

import torch
from torch import nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.ingredient import Run


def _frozen_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval().requires_grad_(False)


@dataclass(frozen=True)
class _Past:
    """A copy of the training's network. ``is_initial``: made before an ingredient replaced the network by another form."""

    network: nn.Module
    is_initial: bool

    @classmethod
    def of(cls, run: Run) -> "_Past":
        """Copy the network as it is now."""
        return cls(_frozen_copy(run.model), run.model is run.initial)

    def state(self) -> State:
        return {"weights": self.network.state_dict(), "is_initial": self.is_initial}

    @classmethod
    def restored(cls, run: Run, state: State) -> "_Past":
        """Return the copy of a state, in the form that the network had then."""
        network = _frozen_copy(run.initial if state["is_initial"] else run.model)
        network.load_state_dict(state["weights"])
        return cls(network, bool(state["is_initial"]))


class MovingAverageTeacher(Teacher):
    """The exponential moving average of the weights (Tarvainen & Valpola 2017, arXiv:1703.01780, equation 2)."""

    def __init__(self, decay: float) -> None:
        """``decay``: share of the old average at each step, 0..1."""
        self._decay = decay
        self._source: nn.Module | None = None
        self._average: _Past | None = None

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The averaged network."""
        return () if self._average is None else (self._average.network,)

    def after_step(self, run: Run) -> None:
        """Move the average; another network (after folding) begins a new one."""
        if self._average is None or run.model is not self._source:
            self._source, self._average = run.model, _Past.of(run)
            return
        average = self._average.network.state_dict()
        with torch.no_grad():
            for old, new in zip(average.values(), run.model.state_dict().values(), strict=True):
                if old.is_floating_point():
                    old.lerp_(new, 1.0 - self._decay)
                else:
                    old.copy_(new)

    def state(self) -> State:
        """Return the average."""
        return {"average": None if self._average is None else self._average.state()}

    def restore(self, run: Run, state: State) -> None:
        """Go on from a state; the average always belongs to the network of the last step."""
        if state["average"] is not None:
            self._source, self._average = run.model, _Past.restored(run, state["average"])


class BestCheckpointTeacher(Teacher):
    """The network of the best validation accuracy so far (progressive self-distillation: Kim et al. 2021, arXiv:2006.12000)."""

    def __init__(self, refresh_epochs: int) -> None:
        """``refresh_epochs``: epochs between two looks."""
        self._refresh_epochs = refresh_epochs
        self._best: _Past | None = None
        self._accuracy = -1.0

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The best network."""
        return () if self._best is None else (self._best.network,)

    def after_evaluation(self, run: Run) -> None:
        """Take the network if it is better than all before."""
        accuracy = run.history[-1].validation_accuracy
        if len(run.history) % self._refresh_epochs == 0 and accuracy > self._accuracy:
            self._best, self._accuracy = _Past.of(run), accuracy

    def state(self) -> State:
        """Return the best network and its accuracy."""
        return {"best": None if self._best is None else self._best.state(), "accuracy": self._accuracy}

    def restore(self, run: Run, state: State) -> None:
        """Go on from a state."""
        self._best = None if state["best"] is None else _Past.restored(run, state["best"])
        self._accuracy = float(state["accuracy"])


class EnsembleTeacher(Teacher):
    """The last checkpoints together (temporal ensembling of networks: Laine & Aila 2017, arXiv:1610.02242)."""

    def __init__(self, refresh_epochs: int, n_checkpoints: int) -> None:
        """``refresh_epochs``: epochs between two checkpoints; ``n_checkpoints``: how many are kept."""
        self._refresh_epochs = refresh_epochs
        self._last: deque[_Past] = deque(maxlen=n_checkpoints)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The last checkpoints, oldest first."""
        return tuple(past.network for past in self._last)

    def after_evaluation(self, run: Run) -> None:
        """Keep a copy."""
        if len(run.history) % self._refresh_epochs == 0:
            self._last.append(_Past.of(run))

    def state(self) -> State:
        """Return the checkpoints."""
        return {"last": [past.state() for past in self._last]}

    def restore(self, run: Run, state: State) -> None:
        """Go on from a state."""
        self._last.extend(_Past.restored(run, past) for past in state["last"])
