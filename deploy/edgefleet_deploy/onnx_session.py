"""Running an ONNX file under onnxruntime on this host, whole sample sets at a time."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.capi import onnxruntime_pybind11_state as _ort

from edgefleet_deploy.errors import CandidateRefused, DataUnusable
from edgefleet_deploy.manifest import TensorSpec

Array = NDArray[Any]
BATCH = 64
UINT8_SCALE = 255.0

ORT_ERRORS: tuple[type[Exception], ...] = (
    _ort.EPFail,
    _ort.Fail,
    _ort.InvalidArgument,
    _ort.InvalidGraph,
    _ort.InvalidProtobuf,
    _ort.ModelLoadCanceled,
    _ort.NotImplemented,
    _ort.RuntimeException,
)
"""onnxruntime has no common root for its errors."""

_NUMPY_TYPES: Mapping[str, str] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OnnxSession:
    """A file loaded on the CPU, optimized as a device would, or node by node (``optimize=False``: float arithmetic
    between the QuantizeLinear and DequantizeLinear nodes of an int8 file).
    """

    def __init__(self, model: bytes | Path, *, threads: int, optimize: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS as err:
            raise CandidateRefused(
                f"onnxruntime {onnxruntime.__version__} cannot load the model: {_first_line(err)}",
                code="runtime_refused",
            ) from err
        self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value) for value in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return output name -> (n, ...) for input name -> (n, ...), in batches the file accepts."""
        n_samples = len(next(iter(inputs.values())))
        fixed = {spec.shape[0] for spec in self.inputs if spec.shape and isinstance(spec.shape[0], int)}
        size = int(min(fixed)) if fixed else BATCH
        parts: list[list[Array]] = []
        for start in range(0, n_samples, size):
            n_wanted = min(size, n_samples - start)
            batch = {name: value[start : start + size] for name, value in inputs.items()}
            if fixed and n_wanted < size:
                batch = {name: _padded(value, size) for name, value in batch.items()}
            parts.append([value[:n_wanted] for value in self._run_batch(batch)])
        names = [spec.name for spec in self.outputs]
        return {name: np.concatenate(pieces) for name, pieces in zip(names, zip(*parts, strict=True), strict=True)}

    def _run_batch(self, batch: Mapping[str, Array]) -> list[Array]:
        try:
            return list(self._session.run(None, dict(batch)))
        except ORT_ERRORS as err:
            shapes = {name: list(value.shape) for name, value in batch.items()}
            raise CandidateRefused(
                f"the model stopped on inputs of shape {shapes}: {_first_line(err)}",
                code="runtime_refused",
                detail={"shapes": shapes},
            ) from err


def run_operators(model: ModelProto) -> dict[str, int]:
    """Return operator type -> count of the graph that onnxruntime really runs on this host, its own fusions made.

    Operators of other domains than ONNX's are named with the domain. Empty where onnxruntime cannot write that graph.
    """
    with tempfile.TemporaryDirectory(prefix="edgefleet-loaded-") as folder:
        path = Path(folder) / "loaded.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except ORT_ERRORS:
            return {}
        nodes = onnx.load(path).graph.node
    names = (f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type for node in nodes)
    return dict(sorted(Counter(names).items()))


def saturates_products(cpuinfo: str, machine: str) -> bool:
    """Return whether onnxruntime's uint8 x int8 kernels saturate on this processor: x86 without VNNI sums pairs of
    products in 16 bits (onnxruntime.ai/docs/performance/model-optimizations/quantization.html, on U8S8 and AVX2).

    cpuinfo: text of /proc/cpuinfo. machine: as platform.machine() names it.
    """
    return machine.lower() in ("x86_64", "amd64", "i686") and "vnni" not in cpuinfo


def fit_inputs(specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays under the model's input names, in its layouts and types; a lone array ``x`` serves a lone input.

    uint8 samples of a float input are images as stored and are scaled to 0..1, as edgefleet_compression does. Scaled
    integers are given as the real numbers they stand for. Raises DataUnusable where an array is missing, has another
    shape or a type that does not convert.
    """
    named = dict(arrays)
    if len(specs) == 1 and specs[0].name not in named and len(named) == 1:
        named = {specs[0].name: next(iter(named.values()))}
    return {spec.name: _fit(spec, named) for spec in specs}


def _fit(spec: TensorSpec, named: Mapping[str, Array]) -> Array:
    if spec.name not in named:
        raise DataUnusable(
            f"the data have no array for input {spec.name!r}; they have {sorted(named)}: name each array after its input",
            code="data_input_missing",
        )
    values = _in_layout(spec, named[spec.name])
    fixed = [
        (found, wanted)
        for found, wanted in zip(values.shape[1:], spec.shape[1:], strict=False)
        if isinstance(wanted, int)
    ]
    if values.ndim != len(spec.shape) or any(found != wanted for found, wanted in fixed):
        raise DataUnusable(
            f"input {spec.name!r} takes samples of shape {list(spec.shape[1:])}, the data have {list(values.shape[1:])}",
            code="data_shape_mismatch",
        )
    if values.dtype == np.uint8 and spec.real_dtype.startswith("float"):
        return np.ascontiguousarray((values / np.float32(UINT8_SCALE)).astype(spec.real_dtype))
    if not np.can_cast(values.dtype, np.dtype(spec.real_dtype), casting="same_kind"):
        raise DataUnusable(
            f"input {spec.name!r} takes {spec.real_dtype}, the data are {values.dtype}: convert them before",
            code="data_type_mismatch",
        )
    return np.ascontiguousarray(values.astype(spec.real_dtype, copy=False))


def _in_layout(spec: TensorSpec, values: Array) -> Array:
    """Return samples of the data set, whose images are (n, c, h, w), in the input's layout."""
    return values.transpose(0, 2, 3, 1) if spec.layout == "NHWC" and values.ndim == len(spec.shape) == 4 else values


def _padded(values: Array, size: int) -> Array:
    return np.concatenate([values, np.repeat(values[-1:], size - len(values), axis=0)])


def _spec(value: Any) -> TensorSpec:
    shape = tuple(dim if isinstance(dim, int) else str(dim or "?") for dim in value.shape)
    return TensorSpec(name=value.name, shape=shape, dtype=_NUMPY_TYPES.get(value.type, value.type))


def _first_line(err: Exception) -> str:
    return str(err).strip().splitlines()[0][:400] if str(err).strip() else type(err).__name__
