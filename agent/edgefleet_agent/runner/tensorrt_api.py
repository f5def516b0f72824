"""The generations of TensorRT's Python API for running an engine, behind one interface.

BindingApi: 8.2 to 8.4, where a tensor is a number (``ICudaEngine.get_binding_*``, ``execute_async_v2``).
TensorApi: 8.5 and later, where it is a name (``get_tensor_*``, ``execute_async_v3``); 10 removed the bindings.
Attribute names: NVIDIA/TensorRT python/src/infer/pyCore.cpp of 8.2 and 8.5, and the pages "Migrating Python Code from
TensorRT 8.x to 10.x" and "Removed Python APIs and Replacements" (10.x to 11.x) of docs.nvidia.com/deeplearning/tensorrt.
"""

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from edgefleet_agent.runner.failure import RunnerFailure

Shape = Tuple[int, ...]

DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
}
"""tensorrt.DataType -> numpy, for the types numpy has. Not ``tensorrt.nptype``: that of 8.x asks for numpy.bool, which
numpy >= 1.24 has no more."""


class IoTensor(NamedTuple):
    """An input or output of an engine; a free dimension is -1."""

    name: str
    is_input: bool
    shape: Shape
    dtype: str


def api_for(engine: Any) -> Any:
    """The interface that fits the engine's generation."""
    return TensorApi(engine) if hasattr(engine, "num_io_tensors") else BindingApi(engine)


class BindingApi:
    """8.2 to 8.4: bindings by number."""

    name = "bindings"

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._numbers = {engine.get_binding_name(i): i for i in range(engine.num_bindings)}
        self._addresses: "List[int]" = [0] * engine.num_bindings

    def tensors(self) -> "List[IoTensor]":
        """Inputs and outputs in the engine's order."""
        engine = self._engine
        return [
            IoTensor(name, engine.binding_is_input(i), tuple(engine.get_binding_shape(i)), _dtype(engine, name, i))
            for name, i in self._numbers.items()
        ]

    def set_shape(self, context: Any, name: str, shape: Shape) -> None:
        """Fix the dimensions of an input; raises RunnerFailure(unsupported_input) outside the engine's profile."""
        if not context.set_binding_shape(self._numbers[name], shape):
            raise _out_of_profile(name, shape)

    def shape(self, context: Any, name: str) -> Shape:
        """Dimensions of a tensor now that the inputs have theirs."""
        return tuple(context.get_binding_shape(self._numbers[name]))

    def bind(self, _context: Any, addresses: "Dict[str, int]") -> None:
        """Say where the tensors are in the GPU's memory."""
        for name, address in addresses.items():
            self._addresses[self._numbers[name]] = address

    def enqueue(self, context: Any, stream: int) -> bool:
        """Start one inference in the stream; False when TensorRT refuses."""
        return bool(context.execute_async_v2(self._addresses, stream))


class TensorApi:
    """8.5 and later: tensors by name."""

    name = "tensors"

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def tensors(self) -> "List[IoTensor]":
        """Inputs and outputs in the engine's order."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        return [
            IoTensor(
                name,
                engine.get_tensor_mode(name).name == "INPUT",
                tuple(engine.get_tensor_shape(name)),
                numpy_name(name, engine.get_tensor_dtype(name)),
            )
            for name in names
        ]

    def set_shape(self, context: Any, name: str, shape: Shape) -> None:
        """Fix the dimensions of an input; raises RunnerFailure(unsupported_input) outside the engine's profile."""
        if not context.set_input_shape(name, shape):
            raise _out_of_profile(name, shape)

    def shape(self, context: Any, name: str) -> Shape:
        """Dimensions of a tensor now that the inputs have theirs."""
        return tuple(context.get_tensor_shape(name))

    def bind(self, context: Any, addresses: "Dict[str, int]") -> None:
        """Say where the tensors are in the GPU's memory."""
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise RunnerFailure(
                    "accelerator_error", "TensorRT refuses the address of tensor {!r}; please report it".format(name)
                )

    def enqueue(self, context: Any, stream: int) -> bool:
        """Start one inference in the stream; False when TensorRT refuses."""
        return bool(context.execute_async_v3(stream))


def numpy_name(tensor: str, dtype: Any) -> str:
    """Type of a tensor as numpy names it; raises RunnerFailure(unsupported_input) for those numpy has not."""
    if dtype.name not in DTYPES:
        raise RunnerFailure(
            "unsupported_input",
            "tensor {!r} has TensorRT's type {}, which numpy can't hold; compile the artifact with float32 inputs and "
            "outputs".format(tensor, dtype.name),
        )
    return DTYPES[dtype.name]


def _dtype(engine: Any, name: str, number: int) -> str:
    return numpy_name(name, engine.get_binding_dtype(number))


def _out_of_profile(name: str, shape: "Sequence[int]") -> RunnerFailure:
    return RunnerFailure(
        "unsupported_input",
        "the engine takes no input {!r} of shape {}; choose a batch within the build plan's shapes, or compile the "
        "artifact for this batch".format(name, list(shape)),
    )
