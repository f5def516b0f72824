"""ONNX Runtime, 1.10 (the newest for Python 3.6) to current."""

from functools import partial
from typing import Any, Dict, List

import numpy as np
import onnxruntime

from edgefleet_agent.runner.backend import Arrays, LoadRequest, Model, TensorFacts
from edgefleet_agent.runner.failure import RunnerFailure

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}
"""ONNX Runtime's tensor types that numpy can hold."""

ERROR_ONLY = 3
"""Log severity: 0 verbose, 1 information, 2 warning, 3 error, 4 fatal (onnxruntime.SessionOptions)."""

CPU_PROVIDER = "CPUExecutionProvider"
PROVIDER_SUFFIX = "executionprovider"
XNNPACK = "XnnpackExecutionProvider"


def open_model(request: LoadRequest) -> Model:
    """Create a session on the CPU provider, or on the one of the option ``provider`` with the CPU for what it leaves."""
    session = _create_session(request)
    inputs = [_tensor(value) for value in session.get_inputs()]
    types = {value.name: value.dtype for value in inputs}

    def prepare(arrays: Arrays) -> Arrays:
        return {name: np.ascontiguousarray(arrays[name], dtype=types[name]) for name in types}

    return Model(
        inputs=inputs,
        outputs=[_tensor(value) for value in session.get_outputs()],
        facts={"version": onnxruntime.__version__, "providers": session.get_providers()},
        prepare=prepare,
        invoke=partial(session.run, None),
        read_outputs=_arrays,
        end_profiling=session.end_profiling if request.options.get("profile_prefix") else None,
    )


def _create_session(request: LoadRequest) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = ERROR_ONLY
    if request.options.get("profile_prefix"):
        options.enable_profiling = True
        options.profile_file_prefix = request.options["profile_prefix"]
    provider = _provider(request.options)
    try:
        session = onnxruntime.InferenceSession(
            request.artifact, options, providers=_with_options(provider, request.threads)
        )
    except MemoryError:
        raise
    except Exception as err:  # noqa: BLE001 - its exceptions share no base class across versions
        raise RunnerFailure(
            "artifact_unreadable",
            "onnxruntime {} can't load the artifact: {}; check that the file is a whole ONNX model of an opset and IR "
            "version this runtime knows".format(onnxruntime.__version__, _first_line(err)),
            {"exception": type(err).__name__},
        ) from err
    # a provider whose libraries are missing is dropped with a warning, and the CPU would be measured in its name
    if session.get_providers()[0] != provider:
        raise _unavailable("{} could not be used here".format(provider), session.get_providers())
    return session


def _provider(options: "Dict[str, Any]") -> str:
    """The provider asked for, by its full or short name in any case."""
    if options.get("delegate"):
        raise _unavailable("onnxruntime has no delegates such as {!r}".format(options["delegate"]), [])
    wanted = options.get("provider") or CPU_PROVIDER
    available = onnxruntime.get_available_providers()
    for name in available:
        if name.lower() in (wanted.lower(), wanted.lower() + PROVIDER_SUFFIX):
            return str(name)
    raise _unavailable("this onnxruntime has no provider {!r}".format(wanted), available)


def _with_options(provider: str, threads: int) -> "List[Any]":
    """XNNPACK has threads of its own (onnxruntime.ai, XNNPACK execution provider)."""
    first = (provider, {"intra_op_num_threads": str(threads)}) if provider == XNNPACK else provider
    return [first] if provider == CPU_PROVIDER else [first, CPU_PROVIDER]


def _unavailable(what: str, available: "List[str]") -> RunnerFailure:
    return RunnerFailure(
        "provider_unavailable",
        "{}; it offers {}; name one of them, or install a build of onnxruntime that has the other".format(
            what, ", ".join(available) or "execution providers"
        ),
        {"available": available},
    )


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:500]


def _arrays(result: "List[Any]") -> "List[np.ndarray[Any, Any]]":
    return [np.asarray(value) for value in result]


def _tensor(value: Any) -> TensorFacts:
    if value.type not in DTYPES:
        raise RunnerFailure(
            "unsupported_input",
            "tensor {!r} has type {}, which can't be fed from or read as numbers; measure a model with numeric inputs "
            "and outputs".format(value.name, value.type),
        )
    shape = [dim if isinstance(dim, int) and dim >= 0 else None for dim in value.shape or []]
    return TensorFacts(value.name, shape, DTYPES[value.type])


def probe() -> "Dict[str, Any]":
    """Version and execution providers, for the agent's inventory."""
    return {"version": onnxruntime.__version__, "providers": list(onnxruntime.get_available_providers())}
