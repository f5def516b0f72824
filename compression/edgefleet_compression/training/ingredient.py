"""What hooks into the training loop."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.passes.specs import Optimizer
from edgefleet_compression.schedules.state import Checkpoint, TrainingState
from edgefleet_compression.training.optimizers import make_optimizer


@dataclass(frozen=True)
class Batch:
    """One part of a step: what went into the network and what came out."""

    x: Tensor
    """(n, ...) as the network saw it, augmented."""
    y: Tensor
    """(n,) labels."""
    indices: Tensor
    """(n,) positions in the training split."""
    logits: Tensor
    """(n, n_classes) with their graph."""
    fraction: float
    """Share of the budget that is over."""
    model: nn.Module
    """The network that gave the logits."""


@dataclass
class Run:
    """The moving state of one training; ingredients read it and may replace the network."""

    model: nn.Module
    optimizer_spec: Optimizer
    n_steps: int
    example: Tensor
    """One sample's batch (1, ...)."""
    step: int = 0
    lr_ratio: float = 1.0
    """Factor on the schedule's learning rate; an ingredient may lower it."""
    learning_rate: float = 0.0
    """Of the last step."""
    history: list[Checkpoint] = field(default_factory=list)
    optimizer: torch.optim.Optimizer = field(init=False)
    initial: nn.Module = field(init=False)
    """The network that the training began with: ``model`` until an ingredient replaces it."""

    def __post_init__(self) -> None:
        self.initial = self.model
        self.optimizer = make_optimizer(self.model, self.optimizer_spec)

    @property
    def state(self) -> TrainingState:
        """The moment, for schedules."""
        return TrainingState(self.step, self.n_steps, tuple(self.history))

    def replace_model(self, model: nn.Module) -> None:
        """Go on with another network: its parameters get a fresh optimizer."""
        self.model = model
        self.optimizer = make_optimizer(model, self.optimizer_spec)


class TrainingIngredient:
    """Hooks, in the order in which the loop calls them; each does nothing unless overridden."""

    def before_step(self, run: Run) -> None:
        """Prepare the network for the step (masks, folding)."""

    def mix_loss(self, loss: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002 - the default of a hook
        """Return the loss to minimise, given the labels' loss."""
        return loss

    def terms(self, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002 - the default of a hook
        """Return the ingredient's own losses by name, for joint training with weights; ``mix_loss`` is not called then."""
        return {}

    def after_step(self, run: Run) -> None:
        """Restore what the optimizer must not change (zeros)."""

    def before_evaluation(self, run: Run) -> None:
        """Bring the network into the form in which it would be saved."""

    def after_evaluation(self, run: Run) -> None:
        """Take note of an epoch's end; the run's history has its figures."""

    def figures(self) -> dict[str, float]:
        """Return what is worth a curve, by name."""
        return {}

    def state(self) -> State:
        """Return what the rest of the training depends on, as plain values and tensors."""
        return {}

    def restore(self, run: Run, state: State) -> None:
        """Go on from a state; ``run`` has its step and history of then, the network only after all ingredients are done.

        An ingredient that replaces the network does so here, with any values: they are filled in afterwards.
        """

    @property
    def is_final(self) -> bool:
        """True once the network has its final form; only such epochs may be chosen as the best."""
        return True
