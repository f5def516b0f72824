"""Calibration samples and a data set for training, both made from a network alone."""

import copy
from typing import Final

from torch import Tensor, nn

from edgefleet_compression.child import Emit
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.datafree.generator import generate_images
from edgefleet_compression.datafree.images import optimise_images
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.evaluate import predict_logits
from edgefleet_compression.passes.specs import ActivationFormat, Synthesis, WeightFormat
from edgefleet_compression.structure import Structure

VALIDATION_SHARE: Final = 0.1

Formats = tuple[WeightFormat, ActivationFormat | None]


def synthetic_images(
    model: nn.Module, structure: Structure, spec: Synthesis, *, formats: Formats, seed: int, emit: Emit
) -> Tensor:
    """Return images (n_samples, ...) as the network takes them. formats: those of the generator's rounded student.

    Raises PassRefused: ``no_batchnorm``, ``synthesis_needs_images``. The network given is left as it is.
    """
    shape, n_classes = structure.input.shape, structure.task.n_classes
    if len(shape) != 3 or structure.input.dtype != "float32":
        raise PassRefused(
            f"Images are made for networks that take [C, H, W], this one takes {structure.input.dtype} {list(shape)}: give it a "
            "data set.",
            code="synthesis_needs_images",
        )
    source = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    if spec.source == "batchnorm":
        return optimise_images(source, shape, n_classes, spec, seed=seed, emit=emit)
    return generate_images(source, shape, n_classes, spec, formats=formats, seed=seed, emit=emit)


def synthetic_data(
    model: nn.Module, structure: Structure, spec: Synthesis, *, formats: Formats, seed: int, emit: Emit
) -> DataSet:
    """Return synthetic images with the network's own answers as labels; a tenth is for validation and, in place of samples
    that nobody has, for test.
    """
    images = synthetic_images(model, structure, spec, formats=formats, seed=seed, emit=emit)
    labels = predict_logits(copy.deepcopy(model), images).argmax(dim=1)
    n_validation = max(1, round(VALIDATION_SHARE * len(images)))
    train, validation = (
        Split({"x": images[part].numpy()}, labels[part].numpy())
        for part in (slice(n_validation, None), slice(n_validation))
    )
    return DataSet(f"synthetic-{spec.source}", train, validation, validation)


def default_formats() -> Formats:
    """Return the formats of the student where a recipe names none: 4-bit weights, so that rounding shows."""
    return WeightFormat(bits=4), None
