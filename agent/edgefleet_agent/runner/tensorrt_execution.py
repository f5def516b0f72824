"""Running an engine: tensors in memory of the GPU, one stream, as little Python per inference as can be."""

import ctypes
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from edgefleet_agent.runner.backend import Arrays
from edgefleet_agent.runner.cuda_memory import DEVICE_TO_HOST, HOST_TO_DEVICE, CudaRuntime, DeviceMemory
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tensorrt_api import IoTensor

Shapes = Tuple[Any, ...]


class Feed(NamedTuple):
    """Inputs of one inference, in the engine's order, and their shapes."""

    arrays: "List[np.ndarray[Any, Any]]"
    shapes: Shapes


class Execution:
    """One execution context with its buffers. The buffers grow with the shapes and are kept otherwise.

    An inference copies the inputs to the GPU, runs and copies the outputs back, all in one stream, and waits for it; with
    ``mapped`` memory, which a Jetson's CPU and GPU share, the GPU reads and writes the host's memory itself.
    """

    def __init__(
        self, engine: Any, api: Any, tensors: "List[IoTensor]", cuda: CudaRuntime, log: Any, *, mapped: bool
    ) -> None:
        self._engine, self._api, self._cuda, self._log, self._mapped = engine, api, cuda, log, mapped
        self._memory: "Dict[str, DeviceMemory]" = {}
        self._stream = cuda.create_stream()
        self._inputs = [tensor for tensor in tensors if tensor.is_input]
        self._results = [tensor for tensor in tensors if not tensor.is_input]
        self._context = engine.handle.create_execution_context()
        if self._context is None:
            raise RunnerFailure(
                "out_of_memory",
                "TensorRT could not create an execution context ({}); choose a smaller artifact or batch".format(
                    self._last_words()
                ),
            )
        self._shapes: "Optional[Shapes]" = None
        self._uploads: "List[Any]" = []
        self._downloads: "List[Any]" = []
        self._outputs: "List[np.ndarray[Any, Any]]" = []
        self._profiler: Any = None

    def __del__(self) -> None:
        """Give the GPU's memory back: the model is loaded once more in this process, and small boards can't hold two."""
        self._context = None
        for memory in self._memory.values():
            self._cuda.free(memory)
        self._memory = {}
        if hasattr(self, "_stream"):  # not where creating it failed
            self._cuda.destroy_stream(self._stream)

    def attach_profiler(self, profiler: Any) -> None:
        """Report every layer's time to a tensorrt.IProfiler from now on."""
        self._profiler = self._context.profiler = profiler  # the context does not keep it alive

    def prepare(self, arrays: Arrays) -> Feed:
        """Inputs as the engine wants them."""
        feeds = [np.ascontiguousarray(arrays[item.name], dtype=item.dtype) for item in self._inputs]
        return Feed(feeds, tuple(array.shape for array in feeds))

    def invoke(self, feed: Feed) -> "List[np.ndarray[Any, Any]]":
        """One inference from the host's memory to the host's memory. The arrays returned are those of every call."""
        if feed.shapes != self._shapes:
            self._take_shapes(feed.shapes)
        cuda = self._cuda
        for array, upload in zip(feed.arrays, self._uploads):
            upload(array)
        if not self._api.enqueue(self._context, self._stream):
            self._refused()
        for arguments in self._downloads:
            cuda.check(cuda.copy(*arguments), "cudaMemcpyAsync to the host")
        cuda.synchronize(self._stream)
        return self._outputs

    def read_outputs(self, result: "List[np.ndarray[Any, Any]]") -> "List[np.ndarray[Any, Any]]":
        """Copies of the outputs: the next inference writes over the originals."""
        return [array.copy() for array in result]

    def _take_shapes(self, shapes: Shapes) -> None:
        api, context = self._api, self._context
        for item, shape in zip(self._inputs, shapes):
            if -1 in item.shape:
                api.set_shape(context, item.name, shape)
            elif tuple(shape) != item.shape:
                raise RunnerFailure(
                    "unsupported_input",
                    "input {!r} takes shape {}, got {}".format(item.name, list(item.shape), list(shape)),
                )
        sizes = [(item, tuple(api.shape(context, item.name))) for item in self._results]
        unknown = [item.name for item, shape in sizes if any(dim < 0 for dim in shape)]
        if unknown:
            raise RunnerFailure(
                "not_supported",
                "the shape of output {!r} depends on the input's values, which can't be measured; export the model with "
                "outputs of known shape".format(unknown[0]),
            )
        self._uploads = [self._upload(item, shape) for item, shape in zip(self._inputs, shapes)]
        placed = [self._download(item, shape) for item, shape in sizes]
        self._outputs = [array for array, _ in placed]
        self._downloads = [arguments for _, arguments in placed if arguments is not None]
        api.bind(context, {name: memory.address for name, memory in self._memory.items()})
        self._shapes = shapes

    def _upload(self, item: IoTensor, shape: "Tuple[int, ...]") -> Any:
        """A function that brings an array into the tensor's memory."""
        memory = self._room(item, shape)
        n_bytes, stream = ctypes.c_size_t(memory.n_bytes), ctypes.c_void_p(self._stream)
        if memory.host is not None:
            view = _view(memory.host, shape, item.dtype)
            return lambda array: np.copyto(view, array)
        target, kind, cuda = ctypes.c_void_p(memory.address), ctypes.c_int(HOST_TO_DEVICE), self._cuda

        def upload(array: "np.ndarray[Any, Any]") -> None:
            source = ctypes.c_void_p(array.ctypes.data)
            cuda.check(cuda.copy(target, source, n_bytes, kind, stream), "cudaMemcpyAsync to the GPU")

        return upload

    def _download(self, item: IoTensor, shape: "Tuple[int, ...]") -> "Tuple[np.ndarray[Any, Any], Any]":
        """The output's array on the host, and the copy that fills it where memory is not mapped."""
        memory = self._room(item, shape)
        if memory.host is not None:
            return _view(memory.host, shape, item.dtype), None
        array = np.empty(shape, dtype=item.dtype)
        arguments = (
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_void_p(memory.address),
            ctypes.c_size_t(memory.n_bytes),
            ctypes.c_int(DEVICE_TO_HOST),
            ctypes.c_void_p(self._stream),
        )
        return array, arguments

    def _room(self, item: IoTensor, shape: "Tuple[int, ...]") -> DeviceMemory:
        n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(item.dtype).itemsize
        held = self._memory.pop(item.name, None)
        if held is not None:
            self._cuda.free(held)
        allocate = self._cuda.allocate_mapped if self._mapped else self._cuda.allocate
        self._memory[item.name] = allocate(n_bytes)
        return self._memory[item.name]

    def _refused(self) -> None:
        raise RunnerFailure(
            "accelerator_error",
            "TensorRT did not start the inference ({}); look at the kernel's log (dmesg)".format(self._last_words()),
            {"words": self._log.errors},
        )

    def _last_words(self) -> str:
        return str(self._log.errors[-1])[:500] if self._log.errors else "no message"


def _view(address: int, shape: "Tuple[int, ...]", dtype: str) -> "np.ndarray[Any, Any]":
    """An array over memory that CUDA allocated."""
    n_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    buffer: Any = (ctypes.c_char * n_bytes).from_address(address)
    array: "np.ndarray[Any, Any]" = np.frombuffer(buffer, dtype=dtype)
    return array.reshape(shape)
