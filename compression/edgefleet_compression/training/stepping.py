"""One optimizer step: forward, losses, backward, update."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgefleet_compression.checkpoints import State
from edgefleet_compression.errors import TrainingFailed
from edgefleet_compression.passes.specs import Train
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.training.augmentation import augmented
from edgefleet_compression.training.compute import Compute, add_up_, own_part, rank, world_size
from edgefleet_compression.training.gradient_scaling import GradientScaling
from edgefleet_compression.training.ingredient import Batch, Run, TrainingIngredient
from edgefleet_compression.training.optimizers import learning_rate


@dataclass(frozen=True)
class Material:
    """The training split on the training's device. x: (n, ...), y: (n,)."""

    x: Tensor
    y: Tensor


class Stepper:
    """Takes the steps of one training."""

    def __init__(
        self,
        run: Run,
        spec: Train,
        material: Material,
        *,
        ingredients: Sequence[TrainingIngredient],
        generator: torch.Generator,
        compute: Compute,
    ) -> None:
        self._run, self._spec, self._material = run, spec, material
        self._ingredients, self._compute = ingredients, compute
        self._scaler = compute.scaler()
        self._scaling = GradientScaling(spec.loss_weights, spec.gradient_scaling) if spec.loss_weights else None
        # several processes draw their own shifts, and all the same order of samples
        self._augmenting = (
            generator if world_size() == 1 else torch.Generator().manual_seed(generator.initial_seed() + 1 + rank())
        )

    def step(self, indices: Tensor) -> float:
        """Take one optimizer step, computed in parts; return the batch's mean loss."""
        run, spec = self._run, self._spec
        for ingredient in self._ingredients:
            ingredient.before_step(run)
        run.model.train()
        run.learning_rate = run.lr_ratio * learning_rate(
            spec.lr_schedule, peak=spec.optimizer.lr, step=run.step, n_steps=run.n_steps
        )
        for group in run.optimizer.param_groups:
            group["lr"] = run.learning_rate
        run.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        own = own_part(indices)
        for part in own.tensor_split(min(spec.accumulate, max(1, len(own) // 2))):  # BatchNorm needs two samples
            share = len(part) / len(indices)
            total += share * self._backward(part, share)
        total = self._update(total)
        run.step += 1
        for ingredient in self._ingredients:
            ingredient.after_step(run)
        return total

    def state(self) -> State:
        """Return the loss scale of float16 and the moving norms of adaptive scaling."""
        return {"scaler": self._scaler.state_dict(), "scaling": self._scaling.state() if self._scaling else None}

    def restore(self, state: State) -> None:
        """Go on from a state."""
        if state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        if self._scaling is not None:
            self._scaling.restore(state["scaling"])

    def _backward(self, indices: Tensor, share: float) -> float:
        """Add this part's gradient, weighted by its share of the batch; return its mean loss."""
        run, spec = self._run, self._spec
        samples = augmented(self._material.x[indices], spec.augmentation, self._augmenting)
        labels = self._material.y[indices]
        # rounding to a grid is computed in float32
        with nullcontext() if quantized_layers(run.model) else self._compute.autocast():
            logits = run.model(samples)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=spec.label_smoothing)
        batch = Batch(samples, labels, indices, logits, run.state.fraction, run.model)
        if self._scaling is None:
            for ingredient in self._ingredients:
                loss = ingredient.mix_loss(loss, batch)
        else:
            terms = {"labels": loss}
            for ingredient in self._ingredients:
                terms |= ingredient.terms(batch)
            loss = self._scaling.combine(terms, run)
        value = float(loss.detach())
        require_finite(value, run)
        self._scaler.scale(share * loss).backward()  # type: ignore[no-untyped-call]
        return value

    def _update(self, loss: float) -> float:
        """Let the optimizer act on the gradients of all processes; return the loss over all of them."""
        run = self._run
        self._scaler.unscale_(run.optimizer)
        gradients = [p.grad for group in run.optimizer.param_groups for p in group["params"] if p.grad is not None]
        add_up_(gradients)
        self._scaler.step(run.optimizer)
        self._scaler.update()
        if world_size() == 1:
            return loss
        summed = torch.tensor(loss, device=run.example.device, dtype=torch.float64)
        add_up_([summed])
        return float(summed)


def require_finite(loss: float, run: Run) -> None:
    """Raise TrainingFailed ``nan_loss`` unless the loss is a number."""
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"The loss became {loss} at step {run.step} of {run.n_steps}: lower the learning rate "
            f"({run.optimizer_spec.lr}) or lengthen the warm-up.",
            code="nan_loss",
            detail={"step": run.step, "n_steps": run.n_steps, "lr": run.optimizer_spec.lr},
        )
