"""The lottery ticket procedure, from newly drawn weights: what is kept of the candidate is its architecture."""

import copy
from typing import Any

import torch
from torch import nn

from edgefleet_compression.candidate import Candidate, build_float_network
from edgefleet_compression.checkpoints import State
from edgefleet_compression.context import Context
from edgefleet_compression.criteria import Scene, score_weights
from edgefleet_compression.data.dataset import DataSet, require_labels
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.evaluate import as_tensor, evaluate, example_input
from edgefleet_compression.models.onnx_graph import require_known_initial_values
from edgefleet_compression.passes.batchnorm import BATCHNORM_REESTIMATED
from edgefleet_compression.passes.dispatch import Outcome, apply, apply_to_torch, refuse_quantized
from edgefleet_compression.passes.specs import LotteryTicket, Train
from edgefleet_compression.records import Epoch
from edgefleet_compression.schedules import CURVES
from edgefleet_compression.structure import Structure
from edgefleet_compression.training.batchnorm import reestimate_batchnorm_
from edgefleet_compression.training.ingredient import Run, TrainingIngredient
from edgefleet_compression.training.loop import Trained, train_network
from edgefleet_compression.training.masks import Masks, make_masks
from edgefleet_compression.training.sparsify import KeepZeros, weights_of


@apply.register
def _(spec: LotteryTicket, candidate: Candidate, context: Context) -> Candidate:
    return apply_to_torch(spec, candidate, context, lambda _, structure: _draw(spec, structure, context))


class _Rewinder(TrainingIngredient):
    """Keeps a copy of the weights at a share of the budget."""

    def __init__(self, fraction: float) -> None:
        self._fraction = fraction
        self.weights: dict[str, Any] | None = None

    def before_step(self, run: Run) -> None:
        """Copy once, at the first step at or past the share."""
        if self.weights is None and run.state.fraction >= self._fraction:
            self.weights = copy.deepcopy(run.model.state_dict())

    def state(self) -> State:
        """Return the copy."""
        return {"weights": self.weights}

    def restore(self, run: Run, state: State) -> None:  # noqa: ARG002 - the signature of all ingredients
        """Go on from a state."""
        self.weights = state["weights"]


def draw_network(structure: Structure, *, seed: int) -> nn.Module:
    """Return the structure's network with newly drawn weights: its family's own initialisation.

    Raises PassRefused ``initial_weights_unknown``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_float_network(structure)
    require_known_initial_values(network)
    return network


def _draw(spec: LotteryTicket, structure: Structure, context: Context) -> Outcome:
    refuse_quantized(spec, structure, code="train_after_quantize")
    data = fit_to(structure, require_labels(context.data, "lottery_ticket"))
    model = draw_network(structure, seed=context.seed)
    rewinder, masks = _Rewinder(spec.rewind_fraction), Masks()
    curve: tuple[Epoch, ...] = ()
    n_steps, n_samples, earlier_s = 0, 0, 0.0
    for number in range(spec.rounds):
        trained = _train(spec, model, data, context, (KeepZeros(masks), rewinder), number)
        curve += _shifted(trained.epochs, n_steps)
        n_steps, n_samples = n_steps + trained.n_steps, n_samples + trained.n_samples
        earlier_s += trained.earlier_s
        amount = CURVES["exponential"](0.0, spec.amount, (number + 1) / spec.rounds)
        masks = _choose(spec, trained.model, masks, amount, data, structure, context)
        is_last = number == spec.rounds - 1
        model = _rewound(spec, trained.model, rewinder, structure, context, is_last=is_last)
        _zero_(model, masks)
    trained = _train(spec, model, data, context, (KeepZeros(masks),), spec.rounds)
    samples = as_tensor(data.train.x)
    is_reestimated = reestimate_batchnorm_(trained.model, samples, augmentation=spec.augmentation, seed=context.seed)
    found = evaluate(trained.model, data.validation)
    return Outcome(
        model=trained.model,
        structure=structure.model_copy(update={"masked": tuple(masks)}),
        steps=n_steps + trained.n_steps,
        samples=n_samples + trained.n_samples,
        notes=(BATCHNORM_REESTIMATED,) if is_reestimated else (),
        metrics={"validation_accuracy": found.accuracy, "validation_loss": found.loss},
        curve=curve + _shifted(trained.epochs, n_steps),
        earlier_s=earlier_s + trained.earlier_s,
    )


def _shifted(epochs: tuple[Epoch, ...], n_steps: int) -> tuple[Epoch, ...]:
    """Return a round's epochs with the steps of the rounds before added."""
    return tuple(epoch.model_copy(update={"step": epoch.step + n_steps}) for epoch in epochs)


def _train(
    spec: LotteryTicket,
    model: nn.Module,
    data: DataSet,
    context: Context,
    ingredients: tuple[TrainingIngredient, ...],
    number: int,
) -> Trained:
    train = Train(
        budget=spec.budget,
        batch_size=spec.batch_size,
        optimizer=spec.optimizer,
        lr_schedule=spec.lr_schedule,
        augmentation=spec.augmentation,
    )

    def report(fraction: float, message: str, **detail: Any) -> None:
        context.emit((number + fraction) / (spec.rounds + 1), f"round {number + 1}: {message}", **detail)

    folder = context.checkpoints
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed + number)  # dropout draws from torch's own generator
        return train_network(
            model,
            train,
            data,
            ingredients=ingredients,
            generator=torch.Generator().manual_seed(context.seed + number),
            emit=report,
            checkpoints=None if folder is None else folder.sub(f"round-{number}"),
            compute=context.compute,
        )


def _choose(
    spec: LotteryTicket,
    model: nn.Module,
    masks: Masks,
    amount: float,
    data: DataSet,
    structure: Structure,
    context: Context,
) -> Masks:
    generator = torch.Generator().manual_seed(context.seed)
    scene = Scene(model, example_input(structure.input), data, generator)
    scores = score_weights(weights_of(model), spec.criterion, scene)
    for name, mask in masks.items():
        scores[name] = scores[name].masked_fill(~mask, -torch.inf)
    return make_masks(scores, amount, scope=spec.scope, structure="weights")


def _rewound(
    spec: LotteryTicket,
    model: nn.Module,
    rewinder: _Rewinder,
    structure: Structure,
    context: Context,
    *,
    is_last: bool,
) -> nn.Module:
    """Return the network that the next training begins with.

    The control draws weights once, for the ticket that was found by rewinding: drawn in every round, a later round would look
    for a ticket of the new weights and go back to them, which is what it is to be compared with.
    """
    if spec.rewind == "learning_rate":
        return model
    if spec.rewind == "reinitialize" and is_last:
        return draw_network(structure, seed=context.seed + 1)
    assert rewinder.weights is not None
    model.load_state_dict(rewinder.weights)
    return model


def _zero_(model: nn.Module, masks: Masks) -> None:
    with torch.no_grad():
        for name, weight in weights_of(model).items():
            if name in masks:
                weight.mul_(masks[name])
