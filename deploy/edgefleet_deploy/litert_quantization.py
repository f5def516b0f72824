"""Integer formats of a float .tflite file, carried out by ai-edge-quantizer, and the activation ranges it needs."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import quantizer, recipe

from edgefleet_compression.precision import Precision
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.litert_network import Point, Range
from edgefleet_deploy.onnx_graph import Array

SAME_RANGE = 1e-3
"""Two ranges over the same samples that differ by less than this share of their width are of the same activation: the
converter's float sums differ from torch's by far less."""

_RECIPES: Mapping[Precision, Any] = {
    "int8": recipe.static_wi8_ai8,
    "int8-dynamic": recipe.dynamic_wi8_afp32,
    "int8-weights": recipe.weight_only_wi8_afp32,
    "int4-weights": recipe.weight_only_wi4_afp32,
}
"""Weights signed, symmetric, one scale (max|w| / 127 or / 7) per output channel; activations int8, asymmetric."""


def quantize_file(payload: bytes, precision: Precision, ranges: Mapping[str, Range]) -> bytes:
    """Return the float file in an integer format; ``ranges`` (tensor name -> range) are needed for int8 only."""
    tool = quantizer.Quantizer(payload, _RECIPES[precision]())
    known = {name: _statistics(found) for name, found in ranges.items()} if tool.need_calibration else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # its own way of looking at tensors warns about itself
            result = tool.quantize(known, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, NotImplementedError) as err:
        raise CandidateRefused(
            f"ai-edge-quantizer cannot write this network as {precision}: {str(err).strip()[:400]}; choose another "
            "precision",
            code="not_quantizable",
        ) from err
    assert result.quantized_model is not None
    return bytes(result.quantized_model)


def _statistics(found: Range) -> dict[str, Array]:
    return {"min": np.array(found.low, np.float32), "max": np.array(found.high, np.float32)}


def observe_tensors(payload: bytes, inputs: Array, *, threads: int) -> dict[str, Range]:
    """Return tensor name -> range of every float tensor that is not a constant, over inputs (n, ...) of a lone input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that keeping every tensor costs memory
        interpreter = Interpreter(
            model_content=payload,
            num_threads=threads,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
    interpreter.allocate_tensors()
    (wanted,) = interpreter.get_input_details()
    produced = _produced_tensors(interpreter)
    low, high = dict.fromkeys(produced, 0.0), dict.fromkeys(produced, 0.0)
    for sample in inputs:
        interpreter.set_tensor(wanted["index"], sample[np.newaxis])
        interpreter.invoke()
        for name, index in produced.items():
            values = interpreter.get_tensor(index)
            low[name], high[name] = min(low[name], float(values.min())), max(high[name], float(values.max()))
    return {name: Range(low[name], high[name]) for name in produced}


def _produced_tensors(interpreter: Any) -> dict[str, int]:
    """Return name -> index of the float tensors that are inputs or results of an operator."""
    indices = {item["index"] for item in interpreter.get_input_details()}
    for operator in interpreter._get_ops_details():  # the only way to tell results from constants
        indices.update(int(index) for index in operator["outputs"])
    details = interpreter.get_tensor_details()
    return {item["name"]: item["index"] for item in details if item["index"] in indices and item["dtype"] == np.float32}


def adopt_points(tensors: Mapping[str, Range], points: Sequence[Point]) -> tuple[dict[str, Range], int]:
    """Return the ranges with the candidate's own where an activation is one of its points, and how many are not.

    tensors and points must have been seen over the same samples: that is how they are told apart.
    """
    adopted: dict[str, Range] = {}
    n_unknown = 0
    for name, seen in tensors.items():
        nearest = min(points, key=lambda point: _distance(point.seen, seen), default=None)
        if nearest is not None and _distance(nearest.seen, seen) <= SAME_RANGE * seen.width:
            adopted[name] = nearest.represented
        else:
            adopted[name] = seen
            n_unknown += 1
    return adopted, n_unknown


def _distance(one: Range, other: Range) -> float:
    return abs(one.low - other.low) + abs(one.high - other.high)
