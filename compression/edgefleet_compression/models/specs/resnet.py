from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.models.specs.base import Depth, ImageArguments, Width, scale_depth, scale_width


class ResNetArguments(ImageArguments):
    """A CIFAR-style residual network (He et al. 2016, arXiv:1512.03385, section 4.2): 3x3 stem, stages of basic blocks
    of two 3x3 convolutions, the first block of every stage but the first halves the image, global average pooling.
    """

    in_channels: Width = Field(1, description="Channels of the input image.")
    stem_width: Width = Field(48, description="Channels of the first convolution.")
    widths: tuple[Width, ...] = Field((48, 96), min_length=1, max_length=8, description="Channels per stage.")
    blocks: tuple[Depth, ...] = Field((1, 1), min_length=1, max_length=8, description="Blocks per stage.")

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
