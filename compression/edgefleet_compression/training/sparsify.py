"""Ingredient: set weights to zero along a schedule and keep them zero."""

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor, nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.criteria import LossOf, Scene, labels_loss, score_weights
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.passes.specs import Sparsify
from edgefleet_compression.schedules import make_schedule
from edgefleet_compression.training.dynamics import LayerDynamics
from edgefleet_compression.training.ingredient import Batch, Run, TrainingIngredient
from edgefleet_compression.training.masks import Masks, allocate, make_masks


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return layer name -> weight of every convolution and linear layer."""
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}


class KeepZeros(TrainingIngredient):
    """Keeps the zeros of an already sparse candidate."""

    def __init__(self, masks: dict[str, Tensor]) -> None:
        self.masks = masks

    def after_step(self, run: Run) -> None:
        """Zero again what the optimizer moved."""
        with torch.no_grad():
            for name, weight in weights_of(run.model).items():
                if name in self.masks:
                    weight.mul_(self.masks[name].to(weight.device))


class SparsifyIngredient(KeepZeros):
    """Follows a schedule from the candidate's sparsity to the asked one; zeros once made stay."""

    def __init__(
        self, spec: Sparsify, *, data: DataSet, generator: torch.Generator, spared: Collection[str], loss: LossOf | None
    ) -> None:
        """spared: layers that keep their filters. loss: what a sensitivity is measured on; None: the labels' loss."""
        super().__init__({})
        self.spec = spec
        self._data = data
        self._generator = generator
        self._spared = spared
        self._loss = loss
        self._schedule = make_schedule(
            spec.schedule,
            spec.pace,
            first=0.0,
            last=spec.amount,
            start=spec.start_fraction,
            end=spec.end_fraction,
        )
        self._dynamics = LayerDynamics() if spec.scope == "dynamic" else None
        self._reached = 0.0
        self._threshold = 0.0

    def before_step(self, run: Run) -> None:
        """Update the masks at their steps, and at the first one at or past the end."""
        target = self._schedule.target(run.state)
        if target > self._reached and (run.step % self.spec.every_steps == 0 or target >= self.spec.amount):
            self._prune_(run, target)
        if self._dynamics is not None:
            self._dynamics.watch({name: run.model.get_submodule(name) for name in weights_of(run.model)})

    def after_step(self, run: Run) -> None:
        """Zero again what the optimizer moved."""
        if self._dynamics is not None:
            self._dynamics.release(weights_of(run.model))
        super().after_step(run)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute weight, the pull towards zero (L1 regularisation)."""
        weights = list(weights_of(batch.model).values())
        n_weights = sum(weight.numel() for weight in weights)
        return {"sparsify": torch.stack([weight.abs().sum() for weight in weights]).sum() / n_weights}

    def before_evaluation(self, run: Run) -> None:
        """At the end of the budget, make sure that the asked sparsity is there."""
        if run.step >= run.n_steps and self._reached < self.spec.amount:
            self._prune_(run, self.spec.amount)

    def figures(self) -> dict[str, float]:
        """Return the sparsity asked for so far, and the threshold: the largest score of a weight that was set to zero."""
        return {"target_sparsity": self._reached, "threshold": self._threshold}

    def state(self) -> State:
        """Return masks, what was reached, and the generator's state."""
        return {
            "masks": self.masks,
            "reached": self._reached,
            "threshold": self._threshold,
            "generator": self._generator.get_state(),
            "dynamics": None if self._dynamics is None else self._dynamics.state(),
        }

    def restore(self, run: Run, state: State) -> None:  # noqa: ARG002 - the signature of all ingredients
        """Go on from a state."""
        self.masks = state["masks"]
        self._reached, self._threshold = float(state["reached"]), float(state["threshold"])
        self._generator.set_state(state["generator"])
        if self._dynamics is not None:
            self._dynamics.restore(state["dynamics"])

    @property
    def is_final(self) -> bool:
        """True once the asked sparsity is there."""
        return self._reached >= self.spec.amount

    def _prune_(self, run: Run, amount: float) -> None:
        weights = weights_of(run.model)
        if self.spec.structure == "filters":
            weights = {name: weight for name, weight in weights.items() if name not in self._spared}
        scene = Scene(run.model, run.example, self._data, self._generator, self._loss or labels_loss)
        scores = {name: score.cpu() for name, score in score_weights(weights, self.spec.criterion, scene).items()}
        for name, mask in self.masks.items():
            scores[name] = scores[name].masked_fill(~mask, -torch.inf)  # below every score: zeros stay zeros
        self.masks = self._masks(scores, amount)
        self._reached = amount
        self._threshold = _largest_dropped(scores, self.masks)
        with torch.no_grad():
            for name, mask in self.masks.items():
                weights[name].mul_(mask.to(weights[name].device))

    def _masks(self, scores: dict[str, Tensor], amount: float) -> Masks:
        structure = self.spec.structure
        if self.spec.scope != "dynamic" or self._dynamics is None:
            scope: Literal["layer", "global"] = "global" if self.spec.scope == "global" else "layer"
            return make_masks(scores, amount, scope=scope, structure=structure)
        sizes = {name: score.numel() for name, score in scores.items()}
        shares = allocate(amount, self._dynamics.activity(scores), sizes)
        already = {name: 1.0 - float(mask.double().mean()) for name, mask in self.masks.items()}
        return {
            name: make_masks(
                {name: score}, max(shares[name], already.get(name, 0.0)), scope="layer", structure=structure
            )[name]
            for name, score in scores.items()
        }


def _largest_dropped(scores: dict[str, Tensor], masks: Masks) -> float:
    """Return the largest score of a dropped weight; weights that were zero before (score -inf) count only if all were."""
    dropped = [scores[name][~mask] for name, mask in masks.items()]
    finite = [values[torch.isfinite(values)] for values in dropped]
    return max((float(values.max()) for values in finite if values.numel()), default=0.0)
