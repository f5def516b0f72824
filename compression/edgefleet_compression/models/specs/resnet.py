from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.models.specs.base import Depth, ImageArguments, Width, scale_depth, scale_width

BOTTLENECK_EXPANSION = 4
"""Output channels of a bottleneck block over its inner ones (He et al. 2016, arXiv:1512.03385, table 1)."""


class ResNetArguments(ImageArguments):
    """A residual network (He et al. 2016, arXiv:1512.03385). Stages of blocks, the first block of every stage but the first
    halves the image, global average pooling. ResNet-20 and -56 are ``widths`` 16, 32, 64 with 3 and 9 ``blocks`` each and a
    ``stem_width`` of 16; ResNet-18, -34 and -50 ``widths`` 64, 128, 256, 512 with 2, 2, 2, 2 or 3, 4, 6, 3 blocks.
    """

    in_channels: Width = Field(1, description="Channels of the input image.")
    stem_width: Width = Field(48, description="Channels of the first convolution.")
    widths: tuple[Width, ...] = Field((48, 96), min_length=1, max_length=8, description="Channels per stage.")
    blocks: tuple[Depth, ...] = Field((1, 1), min_length=1, max_length=8, description="Blocks per stage.")
    stem: Literal["cifar", "imagenet"] = Field(
        "cifar",
        description="cifar: 3x3 at full resolution; imagenet: 7x7 with stride 2, then max pooling with stride 2.",
    )
    block: Literal["basic", "bottleneck"] = Field(
        "basic",
        description="basic: two 3x3 convolutions; bottleneck: 1x1, 3x3, 1x1 to four times the width (ResNet-50).",
    )

    @model_validator(mode="after")
    def _same_length(self) -> "ResNetArguments":
        if len(self.widths) != len(self.blocks):
            raise PydanticCustomError("stages_mismatch", "widths and blocks must have one entry per stage.")
        return self

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "ResNetArguments":
        """Return a smaller network: widths rounded to multiples of 8 (at least 8), at least one block per stage."""
        return self.model_copy(
            update={
                "stem_width": scale_width(self.stem_width, width_ratio),
                "widths": tuple(scale_width(width, width_ratio) for width in self.widths),
                "blocks": tuple(scale_depth(count, depth_ratio) for count in self.blocks),
            }
        )
