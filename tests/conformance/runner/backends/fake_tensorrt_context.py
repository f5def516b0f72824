"""Execution contexts of fake_tensorrt: bindings until 8.6, tensors from 8.5 on. Sources as there. Runs under Python 3.6."""

# ruff: noqa: B905, RUF005
from typing import Any

import numpy as np
from fake_tensorrt import LAYERS, TYPES  # type: ignore[import-not-found]


def make_context(engine: Any) -> Any:
    """The context with what the engine's generation has."""
    generation = engine.state.generation
    kinds = [(generation.has_bindings, BindingContext), (generation.has_tensors, TensorContext)]
    bases = tuple(kind for has, kind in kinds if has) + (Context,)
    return type("IExecutionContext", bases, {})(engine)


class Context:
    """What every generation has: a profiler, and the work itself."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.profiler = engine, None  # type: Any, Any
        self.names: list[str] = [item.name for item in engine.items]
        self.shapes: dict[str, Any] = {}
        self.addresses: dict[str, int] = {}

    def fix(self, name: str, shape: Any) -> bool:
        """Take an input's shape if it is within the profile."""
        limits = self.engine.head["profile"].get(name)
        if limits and not all(low <= dim <= high for low, dim, high in zip(limits[0], shape, limits[2])):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def shape_of(self, name: str) -> Any:
        """Shapes follow the inputs' batch."""
        item = self.engine.items[self.names.index(name)]
        batch = next((shape[0] for shape in self.shapes.values()), -1)
        return self.shapes.get(name) or tuple(dim if isinstance(dim, int) else batch for dim in item.shape)

    def start(self, stream: int) -> bool:
        """Queue the inference; False, and a message, when it can't start."""
        state = self.engine.state
        if state.fault == "refused" or any(not self.addresses.get(name) for name in self.names):
            return False
        state.cuda.enqueue(stream, self._compute)
        return True

    def _compute(self) -> None:
        engine, cuda = self.engine, self.engine.state.cuda
        feeds = {item.name: self._load(item) for item in engine.items[: engine.n_inputs]}
        outputs = engine.session.run(None, feeds)
        for item, value in zip(engine.items[engine.n_inputs :], outputs):
            broken = np.full_like(value, np.nan) if engine.state.fault == "nan" else value
            cuda.write(self.addresses[item.name], broken.tobytes())
        if self.profiler is not None:
            for name, _, time_ms in LAYERS:
                self.profiler.report_layer_time(name, time_ms)

    def _load(self, item: Any) -> Any:
        shape, dtype = self.shape_of(item.name), np.dtype(TYPES[item.type][1])
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer(self.engine.state.cuda.read(self.addresses[item.name], n_bytes), dtype).reshape(shape)


class BindingContext:
    """[py8.2] set_binding_shape, get_binding_shape, execute_async_v2."""

    names: "list[str]"
    addresses: "dict[str, int]"
    fix: Any
    shape_of: Any
    start: Any

    def set_binding_shape(self, binding: int, shape: Any) -> bool:
        return bool(self.fix(self.names[binding], shape))

    def get_binding_shape(self, binding: int) -> Any:
        return self.shape_of(self.names[binding])

    def execute_async_v2(self, bindings: "list[int]", stream_handle: int) -> bool:
        self.addresses.update(zip(self.names, bindings))
        return bool(self.start(stream_handle))


class TensorContext:
    """[py8.5] set_input_shape, get_tensor_shape, set_tensor_address, execute_async_v3."""

    addresses: "dict[str, int]"
    fix: Any
    shape_of: Any
    start: Any

    def set_input_shape(self, name: str, shape: Any) -> bool:
        return bool(self.fix(name, shape))

    def get_tensor_shape(self, name: str) -> Any:
        return self.shape_of(name)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        return bool(self.start(stream_handle))
