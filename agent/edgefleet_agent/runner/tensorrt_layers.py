"""Layers of an engine: what the inspector says of them, and how long each took. Pure reading of TensorRT's JSON.

Format: docs.nvidia.com/deeplearning/tensorrt, "Engine Inspector" (Name, LayerType, Outputs with Format/Datatype,
TacticName, TacticValue), and "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x" (Bindings became I/O Tensors,
Format/Datatype became Format and DataType).
"""

import re
from typing import Any, Dict, List, NamedTuple, Optional

GPU, DLA = "GPU", "DLA"

TYPE_NAME = re.compile(r"\b(FP32|FP16|BF16|FP8|FP4|INT64|INT32|INT8|INT4|UINT8|BOOL|FLOAT|HALF)\b", re.IGNORECASE)
SAME = {"FLOAT": "FP32", "HALF": "FP16"}
"""The texts of the inspector name a type either way."""


class LayerFacts(NamedTuple):
    """A layer of the built engine. Unknown is None: an engine built without detailed verbosity names its layers only."""

    name: str
    kind: "Optional[str]"
    precision: "Optional[str]"
    tactic: "Optional[str]"
    device: str


class LayerTime(NamedTuple):
    """Mean time of a layer per inference, and its share of all layers' time in [0, 1]."""

    name: str
    time_us: float
    share: float


def read_layers(document: "Dict[str, Any]") -> "List[LayerFacts]":
    """Layers of the JSON of IEngineInspector.get_engine_information and of trtexec --exportLayerInfo."""
    return [_layer(entry) for entry in document.get("Layers", [])]


def read_profile(entries: "List[Dict[str, Any]]") -> "List[LayerTime]":
    """Layers of trtexec --exportProfile (samples/common/sampleReporting.cpp, Profiler::exportJSONProfile).

    The first entry is the number of inferences; the others hold name, timeMs, averageMs, medianMs (not in 8.2) and
    percentage.
    """
    times = [(str(entry["name"]), float(entry["averageMs"])) for entry in entries if "name" in entry]
    total_ms = sum(time_ms for _, time_ms in times) or 1.0
    return [LayerTime(name, 1e3 * time_ms, time_ms / total_ms) for name, time_ms in times]


def trace_of(times_ms: "List[Any]", layers: "List[LayerFacts]") -> "List[Dict[str, Any]]":
    """Layer times as events of Chrome's trace format, in the form in which the agent reads every runtime's profile.

    ``times_ms``: (layer name, milliseconds) in the order they were reported, inference by inference.
    """
    known = {layer.name: layer for layer in layers}
    events = []
    for name, time_ms in times_ms:
        layer = known.get(name) or LayerFacts(name, None, None, None, device_of(name, None))
        facts: "Dict[str, Any]" = {"op_name": layer.kind or "layer", "provider": layer.device}
        facts.update(precision=layer.precision, tactic=layer.tactic)
        events.append({"cat": "Node", "name": name + "_kernel_time", "dur": 1e3 * time_ms, "args": facts})
    return events


def device_of(name: str, kind: "Optional[str]") -> str:
    """DLA where TensorRT says so of the layer, else GPU: an engine has no layers on the CPU."""
    return DLA if "DLA" in "{} {}".format(name, kind or "") else GPU


def _layer(entry: Any) -> LayerFacts:
    if isinstance(entry, str):  # built with ProfilingVerbosity.LAYER_NAMES_ONLY
        return LayerFacts(entry, None, None, None, device_of(entry, None))
    name, kind = str(entry["Name"]), entry.get("LayerType")
    tactic = entry.get("TacticName") or entry.get("TacticValue")
    return LayerFacts(name, kind, _precision(entry), tactic, device_of(name, kind))


def _precision(entry: "Dict[str, Any]") -> "Optional[str]":
    """Type of the layer's first output; None where the inspector hides it, as it does for free dimensions."""
    for tensor in entry.get("Outputs", []):
        text = tensor.get("DataType") or tensor.get("Datatype") or tensor.get("Format/Datatype") or ""
        found = TYPE_NAME.search(text)
        if found:
            return SAME.get(found.group(1).upper(), found.group(1).upper())
    return None
