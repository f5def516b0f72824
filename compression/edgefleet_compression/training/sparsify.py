"""Ingredient: set weights to zero along a schedule and keep them zero."""

import torch
from torch import Tensor, nn

from edgefleet_compression.criteria import Scene, score_weights
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.evaluate import as_tensor
from edgefleet_compression.passes.specs import Sparsify
from edgefleet_compression.schedules import make_schedule
from edgefleet_compression.training.ingredient import Run, TrainingIngredient


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return layer name -> weight of every convolution and linear layer."""
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))}


def smallest_mask(scores: dict[str, Tensor], amount: float) -> dict[str, Tensor]:
    """Return masks (True = keep) that drop exactly round(amount * n) of all scores together; ties go by position."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    keep = torch.ones(flat.numel(), dtype=torch.bool)
    keep[torch.argsort(flat, stable=True)[: round(amount * flat.numel())]] = False
    pieces = torch.split(keep, [score.numel() for score in scores.values()])
    return {name: piece.view_as(scores[name]) for (name, piece) in zip(scores, pieces, strict=True)}


class KeepZeros(TrainingIngredient):
    """Keeps the zeros of an already sparse candidate."""

    def __init__(self, masks: dict[str, Tensor]) -> None:
        self.masks = masks

    def after_step(self, run: Run) -> None:
        """Zero again what the optimizer moved."""
        with torch.no_grad():
            for name, weight in weights_of(run.model).items():
                if name in self.masks:
                    weight.mul_(self.masks[name])


class SparsifyIngredient(KeepZeros):
    """Follows a schedule from the candidate's sparsity to the asked one; zeros once made stay."""

    def __init__(self, spec: Sparsify, *, data: DataSet, generator: torch.Generator) -> None:
        super().__init__({})
        self.spec = spec
        self._data = data
        self._generator = generator
        self._schedule = make_schedule(
            spec.schedule,
            spec.pace,
            first=0.0,
            last=spec.amount,
            start=spec.start_fraction,
            end=spec.end_fraction,
        )
        self._reached = 0.0

    def before_step(self, run: Run) -> None:
        """Update the masks at their steps, and at the first one at or past the end."""
        target = self._schedule.target(run.state)
        if target > self._reached and (run.step % self.spec.every_steps == 0 or target >= self.spec.amount):
            self._prune_(run, target)

    def before_evaluation(self, run: Run) -> None:
        """At the end of the budget, make sure that the asked sparsity is there."""
        if run.step >= run.n_steps and self._reached < self.spec.amount:
            self._prune_(run, self.spec.amount)

    @property
    def is_final(self) -> bool:
        """True once the asked sparsity is there."""
        return self._reached >= self.spec.amount

    def _prune_(self, run: Run, amount: float) -> None:
        weights = weights_of(run.model)
        example = as_tensor(self._data.train.x[:1])
        scores = score_weights(weights, self.spec.criterion, Scene(run.model, example, self._data, self._generator))
        for name, mask in self.masks.items():
            scores[name] = scores[name].masked_fill(~mask, -torch.inf)  # below every score: zeros stay zeros
        if self.spec.scope == "global":
            self.masks = smallest_mask(scores, amount)
        else:
            self.masks = {name: smallest_mask({name: score}, amount)[name] for name, score in scores.items()}
        self._reached = amount
        self.after_step(run)
