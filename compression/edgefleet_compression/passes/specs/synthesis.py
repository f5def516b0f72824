"""Training and calibration images made from the network alone."""

from typing import Literal

from pydantic import Field

from edgefleet_compression.passes.specs.base import Spec


class Synthesis(Spec):
    """Images that the network's own BatchNorm statistics describe; no data set is looked at."""

    source: Literal["batchnorm", "generator"] = Field(
        "batchnorm",
        description="batchnorm: the pixels of each image are optimised; generator: a small network learns to draw images on "
        "which a rounded student and the network differ.",
    )
    n_samples: int = Field(1024, ge=2, le=65536, description="Images to make.")
    steps: int = Field(200, ge=1, le=100_000, description="batchnorm: steps of each batch; generator: of its training.")
    batch_size: int = Field(
        64, ge=2, le=4096, description="Images made together: their statistics are compared as one."
    )
    label_weight: float = Field(
        0.1,
        ge=0.0,
        le=1000.0,
        description="Weight of looking like a class drawn at random, beside the statistics' loss.",
    )
    adversarial_weight: float = Field(
        0.1,
        ge=0.0,
        le=1000.0,
        description="generator: weight of the difference between the network and its rounded student.",
    )
