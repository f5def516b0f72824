"""Ingredient: quantization-aware training with folded BatchNorm (Jacob et al. 2018, arXiv:1712.05877, section 3.2)."""

import torch
from torch import Tensor, fx, nn

from edgefleet_compression.checkpoints import State
from edgefleet_compression.passes.specs import Augmentation, FakeQuant
from edgefleet_compression.quantization.calibration import (
    calibrate_,
    follow_ranges_,
    learn_ranges_,
)
from edgefleet_compression.quantization.graph import fold_batchnorm, insert_fake_quant_, list_points
from edgefleet_compression.quantization.grids import MIN_SCALE, per_row
from edgefleet_compression.quantization.modules import (
    QuantizedLayer,
    fake_quantize_weight,
    learn_scales_,
    quantized_layers,
    refresh_weight_scales_,
)
from edgefleet_compression.records import Skip
from edgefleet_compression.training.batchnorm import is_without_statistics, reestimate_batchnorm_
from edgefleet_compression.training.ingredient import Batch, Run, TrainingIngredient


class FakeQuantIngredient(TrainingIngredient):
    """Trains in float up to the start, then folds BatchNorm with re-estimated statistics and trains through rounding.

    From the first step it folds the statistics that the network came with, since nothing has changed its weights yet. On a
    candidate that is quantized already it goes on with that candidate's scales, from the first step.
    """

    def __init__(
        self,
        spec: FakeQuant,
        *,
        train_samples: Tensor | None,
        calibration_samples: Tensor,
        augmentation: Augmentation,
        seed: int,
        is_pruned_first: bool,
    ) -> None:
        """train_samples: of BatchNorm's statistics, None to keep them. is_pruned_first: zeros are made before it attaches."""
        self.spec = spec
        self._augmentation, self._seed, self._is_pruned_first = augmentation, seed, is_pruned_first
        self.skipped: tuple[Skip, ...] = ()
        self.is_reestimated = False
        """True once BatchNorm's statistics were made anew before folding."""
        self._train_samples = train_samples
        self._calibration_samples = calibration_samples
        self._is_attached = False

    def before_step(self, run: Run) -> None:
        """Attach fake-quant at the first step at or past the start."""
        if self._is_attached or run.state.fraction < self.spec.start_fraction:
            return
        if not quantized_layers(run.model):
            run.replace_model(self._quantized(run))
        else:
            _take_up_ranges_(run.model)
        n_parameters = len(list(run.model.parameters()))
        learn_scales_(run.model)
        learn_ranges_(run.model)
        if len(list(run.model.parameters())) > n_parameters:
            run.replace_model(run.model)  # the scales are parameters of a fresh optimizer
        follow_ranges_(run.model)
        run.lr_ratio = self.spec.lr_ratio
        self._is_attached = True

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared distance of the weights from their grid, in steps of it: the pull towards the grid."""
        layers = quantized_layers(batch.model).values()
        if not layers:
            return {}
        distances = [_squared_distance(layer) for layer in layers]
        return {"fake_quant": torch.stack(distances).sum() / sum(layer.weight.numel() for layer in layers)}

    def before_evaluation(self, run: Run) -> None:
        """Let the weight scales follow the last step."""
        refresh_weight_scales_(run.model)

    def state(self) -> State:
        """Return whether fake-quant is attached, and on which statistics."""
        return {"is_attached": self._is_attached, "is_reestimated": self.is_reestimated}

    def restore(self, run: Run, state: State) -> None:
        """Bring the network into its form of then; its values and ranges are filled in afterwards."""
        self.is_reestimated = bool(state["is_reestimated"])
        if not state["is_attached"]:
            return
        if not quantized_layers(run.model):
            graph_module = fold_batchnorm(run.model)
            self.skipped = insert_fake_quant_(graph_module, self.spec.weights, self.spec.activations)
            run.replace_model(graph_module)
        self.before_step(run)

    @property
    def is_final(self) -> bool:
        """True once fake-quant is attached."""
        return self._is_attached

    def _quantized(self, run: Run) -> fx.GraphModule:
        is_changed = run.step > 0 or self._is_pruned_first or is_without_statistics(run.model)
        if self._train_samples is not None and is_changed:
            self.is_reestimated = reestimate_batchnorm_(
                run.model, self._train_samples, augmentation=self._augmentation, seed=self._seed
            )
        graph_module = fold_batchnorm(run.model)
        self.skipped = insert_fake_quant_(graph_module, self.spec.weights, self.spec.activations)
        if self.spec.activations is not None:
            calibrate_(graph_module, self._calibration_samples.to(run.example.device), self.spec.calibration)
        return graph_module


def _squared_distance(layer: QuantizedLayer) -> Tensor:
    step = per_row(layer.weight_scale.detach().clamp(min=MIN_SCALE), layer.weight)
    grid = fake_quantize_weight(layer).detach()
    return ((layer.weight - grid) / step).square().sum()


def _take_up_ranges_(model: nn.Module) -> None:
    """Let ranges start from what scale and zero point say, which is all that a saved candidate has of them."""
    for point in list_points(model).values():
        zero_point, scale = point.zero_point.to(point.scale.dtype), point.scale.detach()
        point.low, point.high = (point.quant_min - zero_point) * scale, (point.quant_max - zero_point) * scale
