from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.wire.reasons import ErrorCode

RUNNER = "edgefleet_agent.runner."


@dataclass(frozen=True)
class Runtime:
    """A runtime the runner has a backend for. ``suffixes``: how the names of the files end that it loads.

    ``build_s``: a runtime that builds an engine of its own on the device may say nothing for this long while it does; 0:
    it builds none.
    """

    name: str
    backend: str
    suffixes: tuple[str, ...]
    build_s: float = 0.0


RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime("onnxruntime", RUNNER + "onnxruntime_", (".onnx", ".ort")),
        # before litert: the longer ending decides
        Runtime("edgetpu", RUNNER + "edgetpu_", (".edgetpu.tflite", "_edgetpu.tflite")),
        Runtime("litert", RUNNER + "litert_", (".tflite",)),
        Runtime("tflite-runtime", RUNNER + "tflite_runtime_", (".tflite",)),
        Runtime("tensorrt", RUNNER + "tensorrt_", (".onnx",), build_s=3600.0),
    )
}
"""Runtimes by name."""


def runtime_named(name: str, runtimes: Mapping[str, Runtime] = RUNTIMES) -> Runtime:
    """The runtime of that name; raises MeasurementFailed(unknown_runtime)."""
    if name not in runtimes:
        raise MeasurementFailed(
            ErrorCode.UNKNOWN_RUNTIME,
            "runtime {!r} is unknown to this agent; it knows {}; upgrade the agent or choose one of these".format(
                name, ", ".join(sorted(runtimes))
            ),
        )
    return runtimes[name]


def runtime_for_file(path: Path) -> Optional[Runtime]:
    """The first runtime that loads files whose name ends like this."""
    return next((item for item in RUNTIMES.values() if path.name.lower().endswith(item.suffixes)), None)
