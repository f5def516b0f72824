"""The one training loop: shuffled mini-batches, a budget in steps, the best epoch chosen on the validation split."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefleet_compression.child import Emit
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import TrainingFailed
from edgefleet_compression.evaluate import Evaluation, as_tensor, evaluate
from edgefleet_compression.passes.specs import Budget, Train
from edgefleet_compression.schedules.state import Checkpoint
from edgefleet_compression.training.augmentation import crop_and_flip
from edgefleet_compression.training.ingredient import Batch, Run, TrainingIngredient
from edgefleet_compression.training.optimizers import learning_rate


@dataclass(frozen=True)
class Epoch:
    """One line of the training history."""

    step: int
    train_loss: float
    validation_accuracy: float
    validation_loss: float


@dataclass(frozen=True)
class Trained:
    """The chosen network and how it came about."""

    model: nn.Module
    n_steps: int
    n_samples: int
    epochs: tuple[Epoch, ...]
    best: Epoch


def count_steps(budget: Budget, *, n_samples: int, batch_size: int) -> int:
    """Return the optimizer steps of a budget."""
    if budget.steps is not None:
        return budget.steps
    assert budget.epochs is not None
    return budget.epochs * steps_per_epoch(n_samples, batch_size)


def steps_per_epoch(n_samples: int, batch_size: int) -> int:
    """Return the batches of one pass; a last batch of one sample is left out (BatchNorm needs two)."""
    full, rest = divmod(n_samples, batch_size)
    return max(1, full + (1 if rest > 1 else 0))


def train_network(
    model: nn.Module,
    spec: Train,
    data: DataSet,
    *,
    ingredients: Sequence[TrainingIngredient],
    generator: torch.Generator,
    emit: Emit,
) -> Trained:
    """Train ``model`` (in place until an ingredient replaces it) and return the best epoch's network, in eval mode.

    Best: highest validation accuracy among epochs in final form, then lowest loss. The test split is never touched.
    Raises TrainingFailed ``nan_loss``.
    """
    x, y = as_tensor(data.train.x), torch.from_numpy(data.train.y)
    n_steps = count_steps(spec.budget, n_samples=len(x), batch_size=spec.batch_size)
    n_per_epoch = steps_per_epoch(len(x), spec.batch_size)
    run = Run(model, spec.optimizer, n_steps, x[:1])
    choice, epochs, losses, n_seen = _BestEpoch(), list[Epoch](), list[float](), 0
    for indices in _batches(len(x), spec.batch_size, n_steps, generator):
        losses.append(_step(run, spec, x, y, indices, ingredients, generator))
        n_seen += len(indices)
        if run.step % n_per_epoch and run.step < n_steps:
            continue
        epoch = _evaluate_epoch(run, data, losses, ingredients)
        epochs.append(epoch)
        losses.clear()
        if all(ingredient.is_final for ingredient in ingredients):
            choice.offer(run.model, epoch)
        emit(run.step / n_steps, f"step {run.step} of {n_steps}", **_describe(epoch))
    model, best = choice.take(run.model)
    return Trained(model.eval(), n_steps, n_seen, tuple(epochs), best)


class _BestEpoch:
    """Keeps the weights of the best epoch so far."""

    def __init__(self) -> None:
        self._weights: dict[str, Any] | None = None
        self._best: Epoch | None = None

    def offer(self, model: nn.Module, epoch: Epoch) -> None:
        if self._best is None or _rank(epoch) > _rank(self._best):
            self._best, self._weights = epoch, copy.deepcopy(model.state_dict())

    def take(self, model: nn.Module) -> tuple[nn.Module, Epoch]:
        if self._best is None or self._weights is None:
            raise TrainingFailed(
                "The training ended before the network had its final form: lower start_fraction or end_fraction.",
                code="budget_too_short",
            )
        model.load_state_dict(self._weights)
        return model, self._best


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.validation_accuracy, -epoch.validation_loss


def _step(
    run: Run,
    spec: Train,
    x: Tensor,
    y: Tensor,
    indices: Tensor,
    ingredients: Sequence[TrainingIngredient],
    generator: torch.Generator,
) -> float:
    """Take one optimizer step, computed in parts; return the batch's mean loss."""
    for ingredient in ingredients:
        ingredient.before_step(run)
    run.model.train()
    rate = learning_rate(spec.lr_schedule, peak=spec.optimizer.lr, step=run.step, n_steps=run.n_steps)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * run.lr_ratio
    run.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for part in indices.tensor_split(min(spec.accumulate, max(1, len(indices) // 2))):  # BatchNorm needs two samples
        samples = crop_and_flip(x[part], generator) if spec.augmentation == "crop_flip" else x[part]
        share = len(part) / len(indices)
        total += share * _backward(run, spec, samples, y[part], part, ingredients, share)
    run.optimizer.step()
    run.step += 1
    for ingredient in ingredients:
        ingredient.after_step(run)
    return total


def _backward(
    run: Run,
    spec: Train,
    samples: Tensor,
    labels: Tensor,
    indices: Tensor,
    ingredients: Sequence[TrainingIngredient],
    share: float,
) -> float:
    """Add this part's gradient, weighted by its share of the batch; return its mean loss."""
    logits = run.model(samples)
    loss = F.cross_entropy(logits, labels, label_smoothing=spec.label_smoothing)
    batch = Batch(samples, labels, indices, logits, run.state.fraction, run.model)
    for ingredient in ingredients:
        loss = ingredient.mix_loss(loss, batch)
    value = float(loss.detach())
    _require_finite(value, run)
    (share * loss).backward()  # type: ignore[no-untyped-call]
    return value


def _require_finite(loss: float, run: Run) -> None:
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"The loss became {loss} at step {run.step} of {run.n_steps}: lower the learning rate "
            f"({run.optimizer_spec.lr}) or lengthen the warm-up.",
            code="nan_loss",
            detail={"step": run.step, "n_steps": run.n_steps, "lr": run.optimizer_spec.lr},
        )


def _evaluate_epoch(run: Run, data: DataSet, losses: list[float], ingredients: Sequence[TrainingIngredient]) -> Epoch:
    for ingredient in ingredients:
        ingredient.before_evaluation(run)
    found: Evaluation = evaluate(run.model, data.validation)
    _require_finite(found.loss, run)
    epoch = Epoch(run.step, sum(losses) / len(losses), found.accuracy, found.loss)
    run.history.append(Checkpoint(epoch.step, epoch.train_loss, epoch.validation_accuracy))
    for ingredient in ingredients:
        ingredient.after_evaluation(run)
    return epoch


def _batches(n_samples: int, batch_size: int, n_steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of ``n_steps`` batches; every pass has its own order."""
    done = 0
    n_per_epoch = steps_per_epoch(n_samples, batch_size)
    while done < n_steps:
        order = torch.randperm(n_samples, generator=generator)
        for batch in torch.split(order, batch_size)[: min(n_per_epoch, n_steps - done)]:
            yield batch
            done += 1


def _describe(epoch: Epoch) -> dict[str, float]:
    return {
        "train_loss": round(epoch.train_loss, 5),
        "validation_accuracy": round(epoch.validation_accuracy, 5),
        "validation_loss": round(epoch.validation_loss, 5),
    }
