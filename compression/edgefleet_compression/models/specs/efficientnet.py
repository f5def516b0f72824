from typing import Literal

from pydantic import Field

from edgefleet_compression.models.specs.base import Depth, ImageArguments, scale_depth


class EfficientNetArguments(ImageArguments):
    """EfficientNet (Tan and Le 2019, arXiv:1905.11946, table 1). b0: SiLU and squeeze-and-excitation; lite0: ReLU6 and none,
    which integer runtimes and the Edge TPU compute whole (Google's efficientnet/lite).
    """

    variant: Literal["b0", "lite0"] = Field(
        "lite0", description="b0: SiLU, squeeze-and-excitation; lite0: ReLU6, none."
    )
    width_multiplier: float = Field(
        1.0, ge=0.05, le=2.0, description="Factor on all widths, rounded to multiples of 8."
    )
    blocks: tuple[Depth, Depth, Depth, Depth, Depth, Depth, Depth] = Field(
        (1, 2, 2, 3, 3, 4, 1), description="Inverted residuals per stage."
    )

    padding: Literal["symmetric", "same"] = Field(
        "symmetric",
        description="Of convolutions with stride 2: symmetric, or as TensorFlow pads images of even size, one more at the "
        "end. Weights from TensorFlow need same.",
    )

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "EfficientNetArguments":
        """Return a smaller network: the multiplier times the ratio, at least one block per stage."""
        return self.model_copy(
            update={
                "width_multiplier": max(0.05, self.width_multiplier * width_ratio),
                "blocks": tuple(scale_depth(count, depth_ratio) for count in self.blocks),
            }
        )
