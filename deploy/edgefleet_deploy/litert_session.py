"""Running a .tflite file under LiteRT on this host, whole sample sets at a time."""

from collections.abc import Mapping
from typing import Any

import ai_edge_litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_graph import Array

_IMAGE_RANK = 4


class LitertSession:
    """A file loaded on the CPU with the default delegate, as a device would. Real numbers go in and come out."""

    def __init__(self, payload: bytes, *, threads: int) -> None:
        try:
            self._interpreter = Interpreter(model_content=payload, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as err:
            raise CandidateRefused(
                f"LiteRT {ai_edge_litert.__version__} cannot load the file: {str(err).strip()[:400]}",
                code="runtime_refused",
            ) from err
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        self.inputs = tuple(_spec(item, layout=_layout(item)) for item in self._inputs)
        self.outputs = tuple(_spec(item, layout=None) for item in self._outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return output name -> (n, ...) for input name -> (n, ...) in the file's layout, one sample after the other."""
        n_samples = len(next(iter(inputs.values())))
        parts: list[list[Array]] = []
        for index in range(n_samples):
            for item in self._inputs:
                values = inputs[item["name"]][index : index + 1]
                self._interpreter.set_tensor(item["index"], quantize(values, item))
            try:
                self._interpreter.invoke()
            except (ValueError, RuntimeError) as err:
                raise CandidateRefused(
                    f"the file stopped on sample {index}: {str(err).strip()[:400]}", code="runtime_refused"
                ) from err
            parts.append([dequantize(self._interpreter.get_tensor(item["index"]), item) for item in self._outputs])
        return {
            item["name"]: np.concatenate(pieces)
            for item, pieces in zip(self._outputs, zip(*parts, strict=True), strict=True)
        }


def quantize(values: Array, item: Mapping[str, Any]) -> Array:
    """Return real numbers as the integers of a tensor with these details, saturating; numbers of a float tensor as is."""
    scale, zero_point = item["quantization"]
    dtype = np.dtype(item["dtype"])
    if not scale:
        return np.ascontiguousarray(values, dtype=dtype)
    limits = np.iinfo(dtype)
    integers: Array = np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return integers


def dequantize(values: Array, item: Mapping[str, Any]) -> Array:
    """Return the real numbers that a tensor's integers stand for; a float tensor's numbers as they are."""
    scale, zero_point = item["quantization"]
    if not scale:
        return values
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _layout(item: Mapping[str, Any]) -> str | None:
    return "NHWC" if len(item["shape"]) == _IMAGE_RANK else None


def _spec(item: Mapping[str, Any], *, layout: Any) -> TensorSpec:
    scale, zero_point = item["quantization"]
    return TensorSpec(
        name=item["name"],
        shape=tuple(int(dim) for dim in item["shape"]),
        dtype=np.dtype(item["dtype"]).name,
        scale=float(scale) if scale else None,
        zero_point=int(zero_point) if scale else None,
        layout=layout,
    )
