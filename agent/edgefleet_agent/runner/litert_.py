"""TensorFlow Lite models: LiteRT (``ai-edge-litert``) or its predecessor ``tflite-runtime``, whichever is there."""

from typing import Any, Dict, List

import numpy as np

from edgefleet_agent.runner.backend import Arrays, LoadRequest, Model, TensorFacts
from edgefleet_agent.runner.failure import RunnerFailure

try:
    import ai_edge_litert as vendor
    from ai_edge_litert.interpreter import Interpreter
except ImportError as missing:
    try:
        import tflite_runtime as vendor
        from tflite_runtime.interpreter import Interpreter
    except ImportError as second:
        raise ImportError("neither ai_edge_litert ({}) nor tflite_runtime ({})".format(missing, second)) from second


def open_model(request: LoadRequest) -> Model:
    """Create an interpreter with XNNPACK's default delegate and allocate its tensors."""
    interpreter = _create_interpreter(request)
    details = interpreter.get_input_details()

    def prepare(arrays: Arrays) -> "List[Any]":
        return [(item["index"], _to_input(arrays[item["name"]], item)) for item in details]

    def invoke(prepared: "List[Any]") -> None:
        for index, array in prepared:
            interpreter.set_tensor(index, array)
        interpreter.invoke()

    def read_outputs(_result: None) -> "List[np.ndarray[Any, Any]]":
        return [_from_output(interpreter.get_tensor(item["index"]), item) for item in interpreter.get_output_details()]

    return Model(
        inputs=[_tensor(item) for item in details],
        outputs=[_tensor(item) for item in interpreter.get_output_details()],
        facts=probe(),
        prepare=prepare,
        invoke=invoke,
        read_outputs=read_outputs,
    )


def _create_interpreter(request: LoadRequest) -> Any:
    try:
        interpreter = Interpreter(model_path=request.artifact, num_threads=request.threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as err:
        raise RunnerFailure(
            "artifact_unreadable",
            "{} can't load the artifact: {}; check that the file is a whole TFLite model whose operators this runtime "
            "knows".format(vendor.__name__, (str(err).strip().splitlines() or ["no message"])[0][:500]),
        ) from err
    return interpreter


def _tensor(item: "Dict[str, Any]") -> TensorFacts:
    return TensorFacts(item["name"], [int(dim) for dim in item["shape"]], np.dtype(item["dtype"]).name)


def _to_input(array: "np.ndarray[Any, Any]", item: "Dict[str, Any]") -> "np.ndarray[Any, Any]":
    """Quantize real numbers for an integer input: q = round(x / scale) + zero_point, saturating."""
    dtype = np.dtype(item["dtype"])
    scale, zero_point = item["quantization"]
    if scale and array.dtype.kind == "f" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        array = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.ascontiguousarray(array, dtype=dtype)


def _from_output(array: "np.ndarray[Any, Any]", item: "Dict[str, Any]") -> "np.ndarray[Any, Any]":
    scale, zero_point = item["quantization"]
    if scale and array.dtype.kind in "iu":
        return (array.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return array


def probe() -> "Dict[str, Any]":
    """Package and version, for the agent's inventory."""
    return {"version": str(getattr(vendor, "__version__", "unknown")), "providers": [vendor.__name__]}
