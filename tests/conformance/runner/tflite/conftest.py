"""Small .tflite files, written with the format's own schema, and the interpreters that hold the two TFLite runtimes."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.measure.artifact import Subject, blob_ref
from edgefleet_agent.wire.messages import MeasureSettings

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs the extra tflite")
flatbuffers = pytest.importorskip("flatbuffers")

Array = np.ndarray[Any, Any]
MakeSubject = Callable[..., Subject]

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3).T - 6
"""The linear model of the suite, y = x W on 4 features and 3 classes, as FULLY_CONNECTED wants it: (3, 4)."""

QUICK = MeasureSettings(
    seconds=0.05, min_samples=70, max_seconds=5.0, warmup_seconds=0.0, warmup_iterations=3, deadline_s=60.0
)


@dataclass(frozen=True)
class Files:
    """What the tests measure. ``edgetpu``: as if compiled for the accelerator, one operator of its compiler."""

    linear: Path
    hybrid: Path
    image_means: Path
    edgetpu: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tflite")
    scales = (np.abs(WEIGHT).max(axis=1) / 127).astype(np.float32)
    weight = np.round(WEIGHT / scales[:, None]).astype(np.int8)
    axes = _constant(np.array([1, 2], np.int32), schema.TensorType.INT32)
    payloads = {
        "linear": _pack(_model(_constant(WEIGHT, schema.TensorType.FLOAT32)), "FULLY_CONNECTED"),
        "hybrid": _pack(_model(_constant(weight, schema.TensorType.INT8, scales)), "FULLY_CONNECTED"),
        "image_means": _pack(_model(axes, shapes=([1, 2, 3, 2], [1, 2])), "MEAN"),
        "edgetpu": _pack(_model(axes), "CUSTOM"),
    }
    for name, payload in payloads.items():
        (folder / f"{name}.tflite").write_bytes(payload)
    return Files(**{name: folder / f"{name}.tflite" for name in payloads})


def _model(constant: "tuple[Any, bytes]", shapes: "tuple[list[int], list[int]]" = ([1, 4], [1, 3])) -> Any:
    """Input x and output y in float, and a constant."""
    model, graph, buffer = schema.ModelT(), schema.SubGraphT(), schema.BufferT()
    tensor, content = constant
    buffer.data, tensor.buffer = np.frombuffer(content, np.uint8), 1
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT(), buffer], [graph]
    graph.tensors = [_tensor(b"x", shapes[0]), _tensor(b"y", shapes[1]), tensor]
    graph.inputs, graph.outputs = [0], [1]
    return model


def _tensor(name: bytes, shape: "list[int]") -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), schema.TensorType.FLOAT32
    return tensor


def _constant(values: Array, kind: int, scales: "Array | None" = None) -> "tuple[Any, bytes]":
    tensor = _tensor(b"w", list(values.shape))
    tensor.type = kind
    if scales is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = scales, np.zeros(len(scales), np.int64)
    return tensor, values.tobytes()


def _pack(model: Any, operator: str) -> bytes:
    code, only = schema.OperatorCodeT(), schema.OperatorT()
    number = getattr(schema.BuiltinOperator, operator)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
    only.inputs, only.outputs = [0, 2], [1]
    if operator == "FULLY_CONNECTED":
        only.inputs = [0, 2, -1]
        only.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        only.builtinOptions = schema.FullyConnectedOptionsT()
    elif operator == "MEAN":
        only.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
        only.builtinOptions = schema.ReducerOptionsT()
    else:
        code.customCode = b"edgetpu-custom-op"
    model.operatorCodes, model.subgraphs[0].operators = [code], [only]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="session")
def tflite_python() -> str:
    """An interpreter that holds tflite-runtime: $EDGEFLEET_TFLITE_PYTHON. Its absence fails in CI and skips elsewhere."""
    named = os.environ.get("EDGEFLEET_TFLITE_PYTHON") or str(
        Path(__file__).parents[4] / ".venv-tflite" / "bin" / "python"
    )
    command = [named, "-c", "import tflite_runtime"]
    if Path(named).exists() and subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return named
    if os.environ.get("CI") == "true":
        pytest.fail("CI needs an interpreter with tflite-runtime (make .venv-tflite/.ready, EDGEFLEET_TFLITE_PYTHON)")
    pytest.skip("no interpreter with tflite-runtime here (make .venv-tflite/.ready, or set EDGEFLEET_TFLITE_PYTHON)")


@pytest.fixture(params=["litert", "tflite-runtime"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def interpreter(runtime: str, request: pytest.FixtureRequest) -> str:
    return sys.executable if runtime == "litert" else str(request.getfixturevalue("tflite_python"))


@pytest.fixture
def subject(runtime: str, interpreter: str) -> MakeSubject:
    """A file under the runtime, with changes."""

    def make(path: Path, **changes: Any) -> Subject:
        artifact = blob_ref(path.read_bytes())
        settings = changes.pop("settings", QUICK)
        return Subject(
            path=path, artifact=artifact, runtime=runtime, interpreter=interpreter, settings=settings, **changes
        )

    return make
