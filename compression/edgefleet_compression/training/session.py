"""All that moves while a network is trained, as one value that can be written down and taken up again."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.errors import TrainingFailed
from edgefleet_compression.quantization.graph import list_points
from edgefleet_compression.records import Epoch
from edgefleet_compression.schedules.state import Checkpoint
from edgefleet_compression.training.batches import Batches
from edgefleet_compression.training.ingredient import Run, TrainingIngredient
from edgefleet_compression.training.stepping import Stepper


class BestEpoch:
    """Keeps the weights of the best epoch so far: highest validation accuracy, then lowest loss."""

    def __init__(self) -> None:
        self._weights: dict[str, Any] | None = None
        self._best: Epoch | None = None

    def offer(self, model: nn.Module, epoch: Epoch) -> None:
        """Take the weights if the epoch is better."""
        if self._best is None or _rank(epoch) > _rank(self._best):
            self._best, self._weights = epoch, copy.deepcopy(model.state_dict())

    def take(self, model: nn.Module) -> tuple[nn.Module, Epoch]:
        """Return the network with the best weights; raises TrainingFailed ``budget_too_short``."""
        if self._best is None or self._weights is None:
            raise TrainingFailed(
                "The training ended before the network had its final form: lower start_fraction or end_fraction.",
                code="budget_too_short",
            )
        model.load_state_dict(self._weights)
        return model, self._best

    def state(self) -> State:
        """Return the epoch and its weights."""
        return {"epoch": None if self._best is None else self._best.model_dump(), "weights": self._weights}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        self._best = None if state["epoch"] is None else Epoch.model_validate(state["epoch"])
        self._weights = state["weights"]


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.validation_accuracy, -epoch.validation_loss


@dataclass
class Session:
    """One training under way. ``generator`` draws the order of samples and their augmentation."""

    run: Run
    batches: Batches
    generator: torch.Generator
    ingredients: Sequence[TrainingIngredient]
    stepper: Stepper
    choice: BestEpoch = field(default_factory=BestEpoch)
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last evaluation."""
    n_seen: int = 0

    def state(self) -> State:
        """Return everything that the rest of the training depends on."""
        run = self.run
        return {
            "step": run.step,
            "lr_ratio": run.lr_ratio,
            "history": [asdict(point) for point in run.history],
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "losses": self.losses,
            "n_seen": self.n_seen,
            "model": run.model.state_dict(),
            "ranges": {name: {"low": point.low, "high": point.high} for name, point in list_points(run.model).items()},
            "optimizer": run.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state() if run.example.is_cuda else None,
            "batches": self.batches.state(),
            "stepper": self.stepper.state(),
            "choice": self.choice.state(),
            "ingredients": [ingredient.state() for ingredient in self.ingredients],
        }

    def restore(self, state: State) -> None:
        """Go on from a state of the same training; ingredients first bring the network into its form of then."""
        run = self.run
        run.step, run.lr_ratio = int(state["step"]), float(state["lr_ratio"])
        run.history[:] = [Checkpoint(**point) for point in state["history"]]
        for ingredient, kept in zip(self.ingredients, state["ingredients"], strict=True):
            ingredient.restore(run, kept)
        run.model.load_state_dict(state["model"])
        for name, point in list_points(run.model).items():
            point.low, point.high = (_on_device(state["ranges"][name][end], run) for end in ("low", "high"))
        run.optimizer.load_state_dict(_optimizer_state(state["optimizer"]))
        self.epochs[:] = [Epoch.model_validate(epoch) for epoch in state["epochs"]]
        self.losses[:] = state["losses"]
        self.n_seen = int(state["n_seen"])
        self.batches.restore(state["batches"])
        self.stepper.restore(state["stepper"])
        self.choice.restore(state["choice"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_generator"])
        if state["cuda_generator"] is not None:
            torch.cuda.set_rng_state(state["cuda_generator"])


def _on_device(tensor: Tensor | None, run: Run) -> Tensor | None:
    return None if tensor is None else tensor.to(run.example.device)


def _optimizer_state(kept: State) -> State:
    """Return the document as torch's optimizers know it: parameters by number, which JSON keys are not."""
    return {
        "state": {int(number): values for number, values in kept["state"].items()},
        "param_groups": kept["param_groups"],
    }
