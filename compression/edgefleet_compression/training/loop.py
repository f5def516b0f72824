"""The one training loop: shuffled mini-batches, a budget in steps, the best epoch chosen on the validation split."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import torch
from torch import nn

from edgefleet_compression.checkpoints import CheckpointFolder, digest
from edgefleet_compression.child import Emit
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.evaluate import as_tensor, evaluate
from edgefleet_compression.passes.specs import Budget, Train
from edgefleet_compression.records import Epoch
from edgefleet_compression.schedules.state import Checkpoint
from edgefleet_compression.stats import weight_sparsity
from edgefleet_compression.training.batches import Batches, steps_per_epoch
from edgefleet_compression.training.compute import Compute, rank, take_buffers_of_first_
from edgefleet_compression.training.ingredient import Run, TrainingIngredient
from edgefleet_compression.training.session import Session
from edgefleet_compression.training.stepping import Material, Stepper, require_finite

CPU: Final = Compute()

CHECKPOINT: Final = "training"
"""Name of the loop's file in its checkpoint folder."""


@dataclass(frozen=True)
class Trained:
    """The chosen network and how it came about. earlier_s: seconds that killed attempts spent up to their last checkpoint."""

    model: nn.Module
    n_steps: int
    n_samples: int
    epochs: tuple[Epoch, ...]
    best: Epoch
    earlier_s: float


def count_steps(budget: Budget, *, n_samples: int, batch_size: int) -> int:
    """Return the optimizer steps of a budget."""
    if budget.steps is not None:
        return budget.steps
    assert budget.epochs is not None
    return budget.epochs * steps_per_epoch(n_samples, batch_size)


def train_network(
    model: nn.Module,
    spec: Train,
    data: DataSet,
    *,
    ingredients: Sequence[TrainingIngredient],
    generator: torch.Generator,
    emit: Emit,
    checkpoints: CheckpointFolder | None = None,
    compute: Compute = CPU,
) -> Trained:
    """Train ``model`` (in place until an ingredient replaces it) and return the best epoch's network, in eval mode.

    Best: highest validation accuracy among epochs in final form, then lowest loss. The test split is never touched.
    With ``checkpoints`` a training that was killed goes on from its last file, and ends with the same weights.
    With several processes (``join_processes``) each computes its part of every batch, and all end with the same weights.
    Raises TrainingFailed ``nan_loss``.
    """
    place = compute.place()
    x, y = as_tensor(data.train.x).to(place), torch.from_numpy(data.train.y).to(place)
    n_steps = count_steps(spec.budget, n_samples=len(x), batch_size=spec.batch_size)
    n_per_epoch = steps_per_epoch(len(x), spec.batch_size)
    run = Run(model.to(place), spec.optimizer, n_steps, x[:1])
    stepper = Stepper(run, spec, Material(x, y), ingredients=ingredients, generator=generator, compute=compute)
    session = Session(run, Batches(len(x), spec.batch_size, generator), generator, ingredients, stepper)
    keeper = _Keeper(checkpoints, session, _fingerprint(model, spec, data, compute) if checkpoints else "")
    if keeper.take_up():
        emit(run.step / n_steps, f"resumed at step {run.step} of {n_steps}", resumed_at=run.step)
    while run.step < n_steps:
        indices = session.batches.take()
        session.losses.append(stepper.step(indices))
        session.n_seen += len(indices)
        is_epoch = run.step % n_per_epoch == 0 or run.step == n_steps
        if is_epoch:
            epoch = _end_epoch(session, data)
            emit(run.step / n_steps, f"step {run.step} of {n_steps}", **_describe(epoch))
        keeper.keep(is_due=is_epoch)
    model, best = session.choice.take(run.model)
    return Trained(model.eval().to("cpu"), n_steps, session.n_seen, tuple(session.epochs), best, keeper.earlier_s)


class _Keeper:
    """Writes the session down, and finds what a killed attempt wrote."""

    def __init__(self, folder: CheckpointFolder | None, session: Session, fingerprint: str) -> None:
        self._folder, self._session, self._fingerprint = folder, session, fingerprint
        self._started = time.perf_counter()
        self.earlier_s = 0.0

    def take_up(self) -> bool:
        """Restore the last state of the same training, if there is one."""
        found = None if self._folder is None else self._folder.load(CHECKPOINT, fingerprint=self._fingerprint)
        if found is None:
            return False
        self._session.restore(found["session"])
        self.earlier_s = float(found["elapsed_s"])
        return True

    def keep(self, *, is_due: bool) -> None:
        """Write if it is due, or every so many steps."""
        if self._folder is None or rank() > 0 or not (is_due or self._session.run.step % self._folder.every_steps == 0):
            return
        elapsed_s = self.earlier_s + time.perf_counter() - self._started
        state = {"session": self._session.state(), "elapsed_s": elapsed_s}
        self._folder.save(CHECKPOINT, state, fingerprint=self._fingerprint)


def _fingerprint(model: nn.Module, spec: Train, data: DataSet, compute: Compute) -> str:
    """Return what tells this training from every other: spec, data, first weights, and what the arithmetic depends on."""
    settings = [
        spec.model_dump(mode="json"),
        data.sha256(),
        str(torch.__version__),
        torch.get_num_threads(),
        asdict(compute),
    ]
    return digest(settings, model.state_dict())


def _end_epoch(session: Session, data: DataSet) -> Epoch:
    """Evaluate, note the epoch, and keep its weights if they are the best so far."""
    run, ingredients = session.run, session.ingredients
    take_buffers_of_first_(run.model)
    for ingredient in ingredients:
        ingredient.before_evaluation(run)
    found = evaluate(run.model, data.validation)
    require_finite(found.loss, run)
    epoch = Epoch(
        step=run.step,
        train_loss=sum(session.losses) / len(session.losses),
        validation_accuracy=found.accuracy,
        validation_loss=found.loss,
        learning_rate=run.learning_rate,
        sparsity=weight_sparsity(run.model),
        figures={name: value for ingredient in ingredients for name, value in ingredient.figures().items()},
    )
    session.losses.clear()
    session.epochs.append(epoch)
    run.history.append(Checkpoint(epoch.step, epoch.train_loss, epoch.validation_accuracy))
    for ingredient in ingredients:
        ingredient.after_evaluation(run)
    if all(ingredient.is_final for ingredient in ingredients):
        session.choice.offer(run.model, epoch)
    return epoch


def _describe(epoch: Epoch) -> dict[str, float]:
    named = {**epoch.model_dump(exclude={"step", "figures"}), **epoch.figures}
    return {name: round(value, 5) for name, value in named.items()}
