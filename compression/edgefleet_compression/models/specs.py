"""Arguments of the registered architectures: frozen, bounded, torch-free."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import DataInvalid, ModelFileInvalid

Width = Annotated[int, Field(ge=1, le=4096)]
Depth = Annotated[int, Field(ge=1, le=64)]


class ArchitectureArguments(Protocol):
    """What every architecture's arguments can do."""

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> Self:
        """Return the arguments of a narrower or shallower network of the same family."""

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True if one sample may have this shape."""

    def model_dump(self) -> dict[str, Any]:
        """Return the arguments as a JSON-safe document."""


class ResNetArguments(BaseModel):
    """A CIFAR-style residual network (He et al. 2016, arXiv:1512.03385, section 4.2): 3x3 stem, stages of basic blocks
    of two 3x3 convolutions, the first block of every stage but the first halves the image, global average pooling.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    in_channels: Width = Field(1, description="Channels of the input image.")
    n_classes: Width = Field(10, description="Classes.")
    stem_width: Width = Field(48, description="Channels of the first convolution.")
    widths: tuple[Width, ...] = Field((48, 96), min_length=1, max_length=8, description="Channels per stage.")
    blocks: tuple[Depth, ...] = Field((1, 1), min_length=1, max_length=8, description="Blocks per stage.")

    @model_validator(mode="after")
    def _same_length(self) -> "ResNetArguments":
        if len(self.widths) != len(self.blocks):
            raise PydanticCustomError("stages_mismatch", "widths and blocks must have one entry per stage.")
        return self

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True for an image [C, H, W] with the right channels."""
        return len(shape) == 3 and shape[0] == self.in_channels

    def scaled(self, *, width_ratio: float, depth_ratio: float) -> "ResNetArguments":
        """Return a smaller network: widths rounded to multiples of 8 (at least 8), at least one block per stage."""
        return self.model_copy(
            update={
                "stem_width": _scale_width(self.stem_width, width_ratio),
                "widths": tuple(_scale_width(width, width_ratio) for width in self.widths),
                "blocks": tuple(max(1, round(count * depth_ratio)) for count in self.blocks),
            }
        )


def check_input_shape(architecture: str, arguments: ResNetArguments, shape: tuple[int, ...]) -> None:
    """Raise DataInvalid ``data_shape_mismatch`` unless the architecture takes samples of this shape."""
    if not arguments.accepts(shape):
        raise DataInvalid(
            f"{architecture} takes images of shape [{arguments.in_channels}, height, width], not {list(shape)}.",
            code="data_shape_mismatch",
            detail={"found": list(shape)},
        )


def _scale_width(width: int, ratio: float) -> int:
    """Multiples of 8 suit the vector units of NEON, Edge TPU and TensorRT."""
    return width if ratio == 1.0 else min(width, max(8, 8 * round(width * ratio / 8)))


ARCHITECTURES: Final[Mapping[str, type[ResNetArguments]]] = MappingProxyType({"resnet": ResNetArguments})
"""Registered architectures: name -> class of its arguments."""


def parse_arguments(architecture: str, arguments: Mapping[str, Any]) -> ResNetArguments:
    """Return the checked arguments, or raise ModelFileInvalid for an unknown architecture or bad arguments."""
    if architecture not in ARCHITECTURES:
        raise ModelFileInvalid(
            f"There is no architecture {architecture!r}; known: {', '.join(sorted(ARCHITECTURES))}.",
            code="architecture_unknown",
        )
    try:
        return ARCHITECTURES[architecture].model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "arguments"
        raise ModelFileInvalid(
            f"Arguments of {architecture} are not valid: {where}: {first['msg']}.",
            code="architecture_arguments_invalid",
        ) from error
