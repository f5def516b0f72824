"""LiteRT: the package ``ai-edge-litert`` and no other."""

from typing import Any, Dict

import ai_edge_litert
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgefleet_agent.runner import tflite_model
from edgefleet_agent.runner.backend import LoadRequest, Model

VENDOR = tflite_model.Vendor(
    "ai-edge-litert", str(getattr(ai_edge_litert, "__version__", "unknown")), Interpreter, OpResolverType
)


def open_model(request: LoadRequest) -> Model:
    """Load the file under LiteRT."""
    return tflite_model.open_model(VENDOR, request)


def probe() -> "Dict[str, Any]":
    """Version, for the agent's inventory."""
    return tflite_model.probe(VENDOR)
