"""BatchNorm's running means and variances: made anew as plain averages over the training split, as training shows it.

Averages over many batches under the final weights, of augmented images where training augments, are what Wu and Johnson
2021 (arXiv:2105.07576, sections 3 and 5) call precise statistics; the moving average that training leaves lags behind the
weights, and images that are not augmented have other statistics than those the weights were fitted to.
"""

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from edgefleet_compression.passes.specs import Augmentation
from edgefleet_compression.training.augmentation import augmented

BATCH: Final = 256
PROBED_SAMPLES: Final = 2048
"""Samples that tell which augmentation a network's statistics are of: the first layers' means differ by far more than by
chance.
"""
VARIANCE_FLOOR: Final = 1e-12


def reestimate_batchnorm_(
    model: nn.Module, samples: Tensor, *, augmentation: Augmentation = "none", seed: int = 0
) -> bool:
    """Set running means and variances to their plain average over ``samples``; return False without BatchNorm.

    Every sample is seen once, augmented by draws of the seed. Batches have nearly equal sizes, so the average weighs every
    sample alike. Doing it twice changes nothing.
    """
    norms = _norms(model)
    if not norms:
        return False
    generator = torch.Generator().manual_seed(seed)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    place = next((parameter.device for parameter in model.parameters()), samples.device)
    with torch.no_grad():
        for batch in samples.tensor_split(max(1, round(len(samples) / BATCH))):
            model(augmented(batch, augmentation, generator).to(place))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    return True


def has_batchnorm(model: nn.Module) -> bool:
    """Return True if the network has a BatchNorm layer that is not folded."""
    return bool(_norms(model))


def is_without_statistics(model: nn.Module) -> bool:
    """Return True if some BatchNorm layer has the mean 0 and the variance 1 that it is made with: nothing was ever seen."""
    return any(
        norm.running_mean is not None
        and norm.running_var is not None
        and bool((norm.running_mean == 0).all())
        and bool((norm.running_var == 1).all())
        for norm in _norms(model)
    )


def augmentation_of(model: nn.Module, samples: Tensor) -> Augmentation:
    """Return the augmentation whose statistics are nearest to those the network has: what it was trained with, if known here.

    samples: (n, ...) of the training split; only images (n, c, h, w) are ever augmented. The network is left as it is.
    """
    if samples.dim() != 4 or not _norms(model) or is_without_statistics(model):
        return "none"
    choices: Sequence[Augmentation] = ("none", "crop_flip")
    return min(choices, key=lambda choice: _distance(model, samples[:PROBED_SAMPLES], choice))


def _distance(model: nn.Module, samples: Tensor, augmentation: Augmentation) -> float:
    """Return how far the network's means are from those of the samples, in standard deviations: mean square per channel."""
    probe = copy.deepcopy(model)
    reestimate_batchnorm_(probe, samples, augmentation=augmentation)
    total, n_channels = 0.0, 0
    for own, found in zip(_norms(model), _norms(probe), strict=True):
        assert own.running_mean is not None
        assert own.running_var is not None
        assert found.running_mean is not None
        difference = (own.running_mean - found.running_mean).double()
        total += float((difference.square() / own.running_var.double().clamp(min=VARIANCE_FLOOR)).sum())
        n_channels += own.num_features
    return total / n_channels


def _norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
