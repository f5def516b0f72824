"""What the arguments of every architecture share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Width = Annotated[int, Field(ge=1, le=4096)]
Depth = Annotated[int, Field(ge=1, le=64)]
InputType = Literal["float32", "int64"]


class Arguments(BaseModel, ABC):
    """Frozen, bounded arguments of one architecture; together with its name they say which network it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_classes: Width = Field(10, description="Classes.")

    @abstractmethod
    def scaled(self, *, width_ratio: float, depth_ratio: float) -> Self:
        """Return the arguments of a narrower or shallower network of the same family."""

    @abstractmethod
    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True if one sample may have this shape."""

    @abstractmethod
    def describe_input(self) -> str:
        """Return in words which samples it takes."""

    @classmethod
    @abstractmethod
    def from_data(cls, shape: tuple[int, ...], n_values: int) -> Mapping[str, Any]:
        """Return the arguments that follow from samples of this shape, whose values lie below ``n_values``."""

    @property
    def input_type(self) -> InputType:
        """Type of the network's input."""
        return "float32"

    @property
    def n_values(self) -> int | None:
        """Token ids lie below this; None for other inputs."""
        return None


class ImageArguments(Arguments):
    """An architecture that takes images."""

    in_channels: Width = Field(3, description="Channels of the input image.")

    @property
    def min_side(self) -> int:
        """Smallest height and width, in pixels."""
        return 1

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Return True for an image [C, H, W] with the right channels that is large enough."""
        return len(shape) == 3 and shape[0] == self.in_channels and min(shape[1:]) >= self.min_side

    def describe_input(self) -> str:
        """Return in words which images it takes."""
        at_least = f", each at least {self.min_side}" if self.min_side > 1 else ""
        return f"images of shape [{self.in_channels}, height, width]{at_least}"

    @classmethod
    def from_data(cls, shape: tuple[int, ...], n_values: int) -> Mapping[str, Any]:  # noqa: ARG003 - pixels say nothing
        """Return the channels of the images."""
        return {"in_channels": shape[0]}


def scale_width(width: int, ratio: float) -> int:
    """Multiples of 8 suit the vector units of NEON, Edge TPU and TensorRT."""
    return width if ratio == 1.0 else min(width, max(8, 8 * round(width * ratio / 8)))


def scale_depth(count: int, ratio: float) -> int:
    """Return the blocks of a stage after scaling: at least one."""
    return max(1, round(count * ratio))
