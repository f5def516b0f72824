from typing import Literal

from pydantic import Field

from edgefleet_compression.models.specs.base import Depth, ImageArguments, scale_depth


class MobileNetV2Arguments(ImageArguments):
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2): inverted residuals with depthwise convolutions."""

    form: Literal["imagenet", "cifar"] = Field(
        "imagenet",
        description="imagenet: the paper's strides, the image shrinks 32 times; cifar: the stem and the 24-channel stage "
        "keep the resolution, it shrinks 8 times. Both have the same parameters.",
    )
    width_multiplier: float = Field(
        1.0, ge=0.05, le=2.0, description="Factor on all widths, rounded to multiples of 8."
    )
    blocks: tuple[Depth, Depth, Depth, Depth, Depth, Depth, Depth] = Field(
        (1, 2, 3, 4, 3, 3, 1), description="Inverted residuals per stage."
    )

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "MobileNetV2Arguments":
        """Return a smaller network: the multiplier times the ratio, at least one block per stage."""
        return self.model_copy(
            update={
                "width_multiplier": max(0.05, self.width_multiplier * width_ratio),
                "blocks": tuple(scale_depth(count, depth_ratio) for count in self.blocks),
            }
        )
