from typing import Annotated, Literal

from pydantic import Field

from edgefleet_compression.models.specs.base import Depth, ImageArguments, Width, scale_depth, scale_width

N_HALVINGS = 5


class VggArguments(ImageArguments):
    """VGG with BatchNorm (Simonyan and Zisserman 2015, arXiv:1409.1556, table 1): five stages of 3x3 convolutions, each
    followed by max pooling. ``blocks`` are 1, 1, 2, 2, 2 for VGG-11, 2, 2, 2, 2, 2 for -13, 2, 2, 3, 3, 3 for -16 and
    2, 2, 4, 4, 4 for -19.
    """

    widths: tuple[Width, Width, Width, Width, Width] = Field(
        (64, 128, 256, 512, 512), description="Channels per stage."
    )
    blocks: tuple[Depth, Depth, Depth, Depth, Depth] = Field((1, 1, 2, 2, 2), description="Convolutions per stage.")
    head: Literal["cifar", "imagenet"] = Field(
        "cifar",
        description="cifar: global average pooling and one linear layer; imagenet: three linear layers on the flattened map.",
    )
    pooled_side: Annotated[int, Field(ge=1, le=16)] = Field(
        7, description="imagenet head: side of the map that it flattens, which is that of the image over 32."
    )
    hidden: Annotated[int, Field(ge=1, le=16384)] = Field(
        4096, description="imagenet head: width of its hidden layers."
    )

    @property
    def min_side(self) -> int:
        """Five poolings leave one pixel of 32."""
        return 1 << N_HALVINGS

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True for an image [C, H, W] with the right channels, of the one size that an imagenet head takes."""
        sides = {length // self.min_side for length in shape[1:]}
        return super().accepts(shape) and (self.head == "cifar" or sides == {self.pooled_side})

    def describe_input(self) -> str:
        """Return in words which images it takes."""
        first = self.pooled_side * self.min_side
        size = f", both {first} to {first + self.min_side - 1}" if self.head == "imagenet" else ""
        return super().describe_input() + size

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "VggArguments":
        """Return a smaller network: widths rounded to multiples of 8 (at least 8), at least one convolution per stage."""
        return self.model_copy(
            update={
                "widths": tuple(scale_width(width, width_ratio) for width in self.widths),
                "blocks": tuple(scale_depth(count, depth_ratio) for count in self.blocks),
                "hidden": scale_width(self.hidden, width_ratio),
            }
        )
