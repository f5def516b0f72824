"""tflite-runtime, LiteRT's predecessor: it needs numpy 1, and computes some files of its successor wrongly."""

from typing import Any, Dict

import tflite_runtime
from tflite_runtime.interpreter import Interpreter, OpResolverType

from edgefleet_agent.runner import tflite_model
from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.failure import RunnerFailure

VENDOR = tflite_model.Vendor(
    "tflite-runtime", str(getattr(tflite_runtime, "__version__", "unknown")), Interpreter, OpResolverType
)


def open_model(request: LoadRequest) -> Model:
    """Load the file under tflite-runtime; raises RunnerFailure(wrong_runtime) for one that it computes wrongly."""
    _refuse_hybrid(request.artifact)
    return tflite_model.open_model(VENDOR, request)


def _refuse_hybrid(path: str) -> None:
    """Refuse float FULLY_CONNECTED with integer weights of one scale per channel.

    Versions 2.11 and 2.14 take the first channel's scale for all and answer garbage without an error. Convolutions of that
    kind, and one scale per tensor, are computed rightly.
    """
    try:
        interpreter = Interpreter(model_path=path)
    except (ValueError, RuntimeError):
        return  # the backend says why it can't be loaded
    tensors = {item["index"]: item for item in interpreter.get_tensor_details()}
    for operator in interpreter._get_ops_details():
        if operator["op_name"] != "FULLY_CONNECTED":
            continue
        values, weights = (tensors[int(index)] for index in operator["inputs"][:2])
        n_scales = len(weights["quantization_parameters"]["scales"])
        if values["dtype"].__name__ == "float32" and weights["dtype"].__name__ == "int8" and n_scales > 1:
            raise RunnerFailure(
                "wrong_runtime",
                "the file is int8-dynamic with one scale per channel, which tflite-runtime {} computes wrongly without an "
                "error; measure it under litert, or compile the model as int8 or int8-weights".format(VENDOR.version),
                {"operator": "FULLY_CONNECTED", "n_scales": n_scales},
            )


def probe() -> "Dict[str, Any]":
    """Version, for the agent's inventory."""
    return tflite_model.probe(VENDOR)
