"""First and second order estimates of what the loss does when a weight goes."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from edgefleet_compression.criteria.gradients import (
    at_rest,
    batch_gradients,
    gradients_of,
    labelled_samples,
    mean_over_batches,
)
from edgefleet_compression.criteria.scene import Scene

FISHER_SAMPLES: Final = 128
"""Samples of the diagonal Fisher information; each costs one backward pass of its own."""


def taylor(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return the mean over batches of |w g| (Molchanov et al. 2019, arXiv:1906.10771, equation 8, per weight)."""
    batches = batch_gradients(weights, scene, labelled_samples(scene, criterion="taylor"))
    return mean_over_batches(batches, lambda name, gradient: (weights[name].detach() * gradient).abs())


def snip(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return |w g| of one large batch's gradient (Lee et al. 2019, arXiv:1810.02340, equation 6).

    Taylor averages magnitudes over batches, SNIP takes the magnitude of the average.
    """
    batches = batch_gradients(weights, scene, labelled_samples(scene, criterion="snip"))
    mean = mean_over_batches(batches, lambda _, gradient: gradient)
    return {name: (weight.detach() * mean[name]).abs() for name, weight in weights.items()}


def grasp(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return w (H g): what the gradient flow loses when the weight goes (Wang et al. 2020, arXiv:2002.07376, equation 8).

    The paper removes the weights with the largest -w (H g); here low scores go first. Scores may be negative.
    """
    samples = labelled_samples(scene, criterion="grasp")
    with at_rest(scene.model):
        gradients = gradients_of(
            scene.loss(scene.model, samples.x, samples.y, samples.indices), weights, create_graph=True
        )
        flow = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum() / 2
        products = gradients_of(flow, weights)  # d/dw |g|^2 / 2 = H g
    return {name: weight.detach() * products[name].detach() for name, weight in weights.items()}


def obd(weights: Mapping[str, Tensor], scene: Scene) -> dict[str, Tensor]:
    """Return w^2 F / 2 with the diagonal empirical Fisher information F in place of the Hessian.

    LeCun et al. 1990, "Optimal Brain Damage", equation 5; F is the mean squared gradient of single samples.
    """
    samples = labelled_samples(scene, criterion="obd").first(FISHER_SAMPLES)
    batches = batch_gradients(weights, scene, samples, batch_size=1)
    fisher = mean_over_batches(batches, lambda _, gradient: gradient.square())
    return {name: weight.detach().square() * fisher[name] / 2 for name, weight in weights.items()}
