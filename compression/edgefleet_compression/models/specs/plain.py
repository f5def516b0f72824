"""Small networks: students, and tests of the pipeline."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from edgefleet_compression.models.specs.base import Arguments, ImageArguments, Width, scale_width


class MlpArguments(Arguments):
    """Linear layers with ReLU between them; any float sample is flattened."""

    n_inputs: Annotated[int, Field(ge=1, le=1_000_000)] = Field(64, description="Numbers of one sample.")
    hidden: tuple[Width, ...] = Field((128, 64), max_length=16, description="Widths of the hidden layers.")

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True for any sample of that many numbers."""
        n_numbers = 1
        for length in shape:
            n_numbers *= length
        return n_numbers == self.n_inputs

    def describe_input(self) -> str:
        """Return in words which samples it takes."""
        return f"samples of {self.n_inputs} numbers"

    @classmethod
    def from_data(cls, shape: tuple[int, ...], n_values: int) -> Mapping[str, Any]:  # noqa: ARG003 - a size, no ids
        """Return the size of the samples."""
        n_numbers = 1
        for length in shape:
            n_numbers *= length
        return {"n_inputs": n_numbers}

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "MlpArguments":
        """Return a smaller network: narrower layers, the last ones left out."""
        n_kept = round(len(self.hidden) * depth_ratio)
        return self.model_copy(
            update={"hidden": tuple(scale_width(width, width_ratio) for width in self.hidden[:n_kept])}
        )


class ConvNetArguments(ImageArguments):
    """Stages of one 3x3 convolution with BatchNorm and ReLU, each but the first halving the image, then global average
    pooling. ``separable`` splits each convolution but the first into depthwise and 1x1 (Howard et al. 2017,
    arXiv:1704.04861). The tiny and small students are ``widths`` 8, 16, 32 and 16, 32, 64.
    """

    widths: tuple[Width, ...] = Field((16, 32, 64), min_length=1, max_length=16, description="Channels per stage.")
    convolution: Literal["full", "separable"] = Field("full", description="full: k x k over all channels; separable.")

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "ConvNetArguments":
        """Return a smaller network: narrower stages, the last ones left out."""
        n_kept = max(1, round(len(self.widths) * depth_ratio))
        return self.model_copy(
            update={"widths": tuple(scale_width(width, width_ratio) for width in self.widths[:n_kept])}
        )
