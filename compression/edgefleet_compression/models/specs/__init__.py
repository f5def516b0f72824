"""Arguments of the registered architectures: frozen, bounded, torch-free."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from edgefleet_compression.errors import DataInvalid, ModelFileInvalid
from edgefleet_compression.models.specs.base import Arguments, ImageArguments
from edgefleet_compression.models.specs.efficientnet import EfficientNetArguments
from edgefleet_compression.models.specs.mobilenet_v2 import MobileNetV2Arguments
from edgefleet_compression.models.specs.onnx_graph import OnnxGraphArguments
from edgefleet_compression.models.specs.plain import ConvNetArguments, MlpArguments
from edgefleet_compression.models.specs.resnet import ResNetArguments
from edgefleet_compression.models.specs.transformer import PADDING_ID, TransformerArguments
from edgefleet_compression.models.specs.vgg import VggArguments

__all__ = [
    "ARCHITECTURES",
    "ONNX_GRAPH",
    "PADDING_ID",
    "Arguments",
    "ConvNetArguments",
    "EfficientNetArguments",
    "ImageArguments",
    "MlpArguments",
    "MobileNetV2Arguments",
    "OnnxGraphArguments",
    "ResNetArguments",
    "TransformerArguments",
    "VggArguments",
    "check_input_shape",
    "input_arguments",
    "parse_arguments",
]

ARCHITECTURES: Final[Mapping[str, type[Arguments]]] = MappingProxyType(
    {
        "resnet": ResNetArguments,
        "mobilenet_v2": MobileNetV2Arguments,
        "efficientnet": EfficientNetArguments,
        "vgg": VggArguments,
        "convnet": ConvNetArguments,
        "mlp": MlpArguments,
        "transformer": TransformerArguments,
    }
)
"""Registered architectures: name -> class of its arguments."""

ONNX_GRAPH: Final = "onnx_graph"
"""What a converted ONNX file is; not of the zoo, since no two are alike."""


def check_input_shape(architecture: str, arguments: Arguments, shape: tuple[int, ...]) -> None:
    """Raise DataInvalid ``data_shape_mismatch`` unless the architecture takes samples of this shape."""
    if not arguments.accepts(shape):
        raise DataInvalid(
            f"{architecture} takes {arguments.describe_input()}, not samples of shape {list(shape)}.",
            code="data_shape_mismatch",
            detail={"found": list(shape)},
        )


def input_arguments(architecture: str, shape: tuple[int, ...], *, n_values: int) -> Mapping[str, Any]:
    """Return the arguments that follow from samples of this shape with values below ``n_values``."""
    return _known(architecture).from_data(shape, n_values)


def parse_arguments(architecture: str, arguments: Mapping[str, Any]) -> Arguments:
    """Return the checked arguments, or raise ModelFileInvalid for an unknown architecture or bad arguments."""
    try:
        return _known(architecture).model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "arguments"
        raise ModelFileInvalid(
            f"Arguments of {architecture} are not valid: {where}: {first['msg']}.",
            code="architecture_arguments_invalid",
        ) from error


def _known(architecture: str) -> type[Arguments]:
    if architecture == ONNX_GRAPH:
        return OnnxGraphArguments
    if architecture not in ARCHITECTURES:
        raise ModelFileInvalid(
            f"There is no architecture {architecture!r}; known: {', '.join(sorted(ARCHITECTURES))}.",
            code="architecture_unknown",
        )
    return ARCHITECTURES[architecture]
