"""Ingredient: learn from a teacher."""

from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.specs import Distill
from edgefleet_compression.teachers.teacher import Teacher
from edgefleet_compression.training.distillation_losses import (
    attention_loss,
    decoupled_loss,
    feature_loss,
    softened_loss,
)
from edgefleet_compression.training.features import PENULTIMATE, FeatureReader, Point, find_points
from edgefleet_compression.training.ingredient import Batch, Run, TrainingIngredient

FEATURE_WEIGHTS: Final = {"attention": 1000.0, "features": 100.0}
"""Weights beside the labels' loss that RepDistiller uses (README, commands for AT and FitNet)."""


class DistillIngredient(TrainingIngredient):
    """Mixes the teacher's loss with the labels' loss; as long as the teacher has nothing to say, the labels teach alone."""

    def __init__(self, spec: Distill, teacher: Teacher, *, seed: int) -> None:
        self.spec = spec
        self._teacher = teacher
        self._features = _FeatureMatching(spec, seed=seed) if spec.method in FEATURE_WEIGHTS else None

    def before_step(self, run: Run) -> None:
        """Hook the networks whose activations are compared."""
        for network in self._teacher.networks:
            network.to(run.example.device)
        if self._features is not None and self._teacher.networks:
            self._features.attach(run, self._teacher.networks[0])

    def mix_loss(self, loss: Tensor, batch: Batch) -> Tensor:
        """Return alpha * distillation + (1 - alpha) * labels, or labels + weight * features."""
        if not self._teacher.is_ready:
            return loss
        if self._features is not None:
            return loss + self._distillation(batch)
        return self.spec.alpha * self._distillation(batch) + (1.0 - self.spec.alpha) * loss

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the distillation loss alone, once there is a teacher."""
        return {"distill": self._distillation(batch)} if self._teacher.is_ready else {}

    def _distillation(self, batch: Batch) -> Tensor:
        if self._features is not None:
            self._teacher.networks[0](batch.x)
            return self._features.loss()
        temperature = self.temperature(batch.fraction)
        teacher = self._teacher.logits(batch)
        if self.spec.method == "dkd":
            return decoupled_loss(
                batch.logits, teacher, batch.y, temperature, non_target_weight=self.spec.non_target_weight
            )
        return softened_loss(batch.logits, teacher, temperature)

    def temperature(self, fraction: float) -> float:
        """Return the temperature at this share of the budget."""
        if self.spec.final_temperature is None:
            return self.spec.temperature
        return self.spec.temperature + fraction * (self.spec.final_temperature - self.spec.temperature)

    def after_step(self, run: Run) -> None:
        """Take the hooks off, so that no copy of the network carries them, and let the teacher look."""
        if self._features is not None:
            self._features.detach()
        self._teacher.after_step(run)

    def after_evaluation(self, run: Run) -> None:
        """Let the teacher look."""
        self._teacher.after_evaluation(run)

    def state(self) -> State:
        """Return the teacher's state and that of the bridges."""
        return {
            "teacher": self._teacher.state(),
            "features": None if self._features is None else self._features.state(),
        }

    def restore(self, run: Run, state: State) -> None:
        """Go on from a state: the teacher first, the points of comparison need it."""
        self._teacher.restore(run, state["teacher"])
        if self._features is not None:
            self._features.restore(run, self._teacher.networks, state["features"])


class _FeatureMatching:
    """The activations of student and teacher at their common points, and the bridges between different widths."""

    def __init__(self, spec: Distill, *, seed: int) -> None:
        self._spec, self._seed = spec, seed
        self._weight = spec.feature_weight or FEATURE_WEIGHTS[spec.method]
        self._pair: tuple[nn.Module, nn.Module] | None = None
        self._points: tuple[dict[str, Point], dict[str, Point]] = ({}, {})
        self._bridges: dict[str, nn.Module] = {}
        self._readers: tuple[FeatureReader, FeatureReader] | None = None

    def attach(self, run: Run, teacher: nn.Module) -> None:
        """Hook both networks for one step; look for their common points when one of them is new."""
        if self._pair is None or self._pair[0] is not run.model or self._pair[1] is not teacher:
            self._points = self._common_points(run, teacher)
            if self._spec.method == "features" and (self._pair is None or self._pair[0] is not run.model):
                self._add_bridges(run)  # to the new network's new optimizer
            self._pair = (run.model, teacher)
        self._readers = (FeatureReader(run.model, self._points[0]), FeatureReader(teacher, self._points[1]))

    def detach(self) -> None:
        """Take all hooks off."""
        for reader in self._readers or ():
            reader.close()
        self._readers = None

    def state(self) -> State:
        """Return the bridges' weights, and whether the networks have been looked at."""
        weights = {name: bridge.state_dict() for name, bridge in self._bridges.items()}
        return {"has_pair": self._pair is not None, "bridges": weights}

    def restore(self, run: Run, networks: tuple[nn.Module, ...], state: State) -> None:
        """Go on from a state; the bridges join the optimizer again."""
        if not state["has_pair"]:
            return
        self.attach(run, networks[0])
        self.detach()
        for name, weights in state["bridges"].items():
            self._bridges[name].load_state_dict(weights)

    def loss(self) -> Tensor:
        """Return the weighted loss of the last forward passes, in float32 as every loss."""
        assert self._readers is not None
        own, targets = (reader.values for reader in self._readers)
        parts = [self._loss_at(name, value.float(), targets[name].detach().float()) for name, value in own.items()]
        return self._weight * torch.stack(parts).mean()

    def _loss_at(self, name: str, own: Tensor, target: Tensor) -> Tensor:
        if self._spec.method == "attention":
            return attention_loss(own, target)
        bridge = self._bridges.get(name)
        return feature_loss(own if bridge is None else bridge(own), target)

    def _common_points(self, run: Run, teacher: nn.Module) -> tuple[dict[str, Point], dict[str, Point]]:
        own, other = find_points(run.model, run.example), find_points(teacher, run.example)
        skipped = {PENULTIMATE} if self._spec.method == "attention" else set()
        wanted = [name for name in own if name in other and name not in skipped]
        if not wanted:
            raise PassRefused(
                f"Student and teacher have no activations in common for method {self._spec.method}: use logits or dkd.",
                code="no_common_features",
            )
        return {name: own[name] for name in wanted}, {name: other[name] for name in wanted}

    def _add_bridges(self, run: Run) -> None:
        """Make a learnt 1 x 1 convolution or linear layer where widths differ; it is thrown away after the training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            for name, point in self._points[0].items():
                n_out = self._points[1][name].n_channels
                if point.n_channels != n_out and name not in self._bridges:
                    is_map = name != PENULTIMATE
                    bridge = nn.Conv2d(point.n_channels, n_out, 1) if is_map else nn.Linear(point.n_channels, n_out)
                    self._bridges[name] = bridge.to(run.example.device)
        extra = [parameter for module in self._bridges.values() for parameter in module.parameters()]
        if extra:
            run.optimizer.add_param_group({"params": extra, "weight_decay": 0.0})
