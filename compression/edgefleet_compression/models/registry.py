"""Builders of the registered architectures."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from edgefleet_compression.models import efficientnet, mobilenet_v2, onnx_graph, plain, resnet, transformer, vgg
from edgefleet_compression.models.specs import OnnxGraphArguments, parse_arguments

BUILDERS: Final[Mapping[str, Callable[[Any], nn.Module]]] = MappingProxyType(
    {
        "resnet": resnet.build,
        "mobilenet_v2": mobilenet_v2.build,
        "efficientnet": efficientnet.build,
        "vgg": vgg.build,
        "convnet": plain.build_convnet,
        "mlp": plain.build_mlp,
        "transformer": transformer.build,
    }
)
"""Architecture name -> builder; has the same keys as ``specs.ARCHITECTURES``."""


def build_model(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return a new network with random weights from torch's current generator; see ``specs`` for the errors."""
    checked = parse_arguments(architecture, arguments)
    if isinstance(checked, OnnxGraphArguments):
        return onnx_graph.build(checked)
    return BUILDERS[architecture](checked)
