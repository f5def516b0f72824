"""The module ``tensorrt`` of four generations, without a GPU: an engine computes what onnxruntime computes.

Only what a generation has is there, so that asking for anything else raises AttributeError as the real module does.
Sources, by the marks in the comments:
  [py8.2]  NVIDIA/TensorRT python/src/infer/pyCore.cpp of 8.2 (bindings, max_workspace_size, enqueue_emits_profile)
  [py8.5]  the same file of 8.5 (both bindings and tensors, set_memory_pool_limit, MemoryPoolType)
  [onnx]   NVIDIA/TensorRT python/src/parsers/pyOnnx.cpp (OnnxParser, ParserError)
  [8to10]  docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-8x-to-10x-python-api-patterns and
           -reference (bindings removed; EXPLICIT_BATCH deprecated and ignored)
  [10to11] .../tensorrt-10x-to-11x-python-api-reference (precision flags removed), 11.0.0/_static/python-api/infer/Core/
           Builder.html (STRONGLY_TYPED deprecated and ignored, EXPLICIT_BATCH gone)
  [prof]   docs.nvidia.com/deeplearning/tensorrt/archives/tensorrt-823 Core/Profiler (IProfiler.report_layer_time)
  [insp]   Core/EngineInspector, "Engine Inspector", and the 11.3.0 page "Migrating IEngineInspector Usage"
  [errors] NVIDIA/TensorRT issues 2176 (incompatible device) and 574, onnx-tensorrt issue 465 (no importer)
Runs under Python 3.6.
"""

# ruff: noqa: BLE001, PTH123, RUF005
import base64
import enum
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

UNSUPPORTED = "Det"
"""The operator that this TensorRT lacks (docs/operators.md of onnx-tensorrt lists Det as not supported)."""

DataType = enum.IntEnum("DataType", ["FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "INT64"], start=0)
MemoryPoolType = enum.IntEnum("MemoryPoolType", ["WORKSPACE", "DLA_MANAGED_SRAM"], start=0)  # [py8.5]
TensorIOMode = enum.IntEnum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"], start=0)  # [py8.5]
Severity = enum.IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)
TYPES = {"tensor(float)": (DataType.FLOAT, np.float32), "tensor(int64)": (DataType.INT64, np.int64)}

LAYERS = (("linear", "CaskGemmMatrixMultiply", 0.3), ("{DLA: head}", "DLA", 0.1))
"""Name, kind and milliseconds of the layers every engine has."""


class Generation:
    """What a version has, by its number."""

    def __init__(self, version: str) -> None:
        numbers = tuple(int(part) for part in version.split("."))
        self.version = version
        self.has_bindings = numbers < (10,)
        self.has_tensors = numbers >= (8, 5)
        self.has_pools = numbers >= (8, 4)
        self.has_workspace = numbers < (10,)
        self.is_always_typed = numbers >= (11,)
        self.needs_explicit_batch = numbers < (10,)


def make_tensorrt(version: str, cuda: Any, gpu: "dict[str, str]", fault: "str | None" = None) -> Any:
    """The module. ``fault``: build_oom, refused (execution does not start), nan (outputs)."""
    generation = Generation(version)
    state = SimpleNamespace(generation=generation, cuda=cuda, gpu=gpu, fault=fault)
    module = SimpleNamespace(
        __version__=version,
        ILogger=ILogger,
        IProfiler=IProfiler,
        DataType=DataType,
        LayerInformationFormat=enum.IntEnum("LayerInformationFormat", ["ONELINE", "JSON"], start=0),  # [insp]
        ProfilingVerbosity=enum.IntEnum("ProfilingVerbosity", ["LAYER_NAMES_ONLY", "DETAILED", "NONE"], start=0),
        NetworkDefinitionCreationFlag=_network_flags(generation),
        BuilderFlag=_builder_flags(generation),
        Builder=lambda log: Builder(state, log),
        OnnxParser=OnnxParser,
        Runtime=lambda log: Runtime(state, log),
        init_libnvinfer_plugins=lambda _log, _namespace: True,
    )
    if generation.has_pools:
        module.MemoryPoolType = MemoryPoolType
    if generation.has_tensors:
        module.TensorIOMode = TensorIOMode
    return module


def _network_flags(generation: Generation) -> Any:
    if generation.has_bindings and not generation.has_tensors:
        return enum.IntEnum("Flag", ["EXPLICIT_BATCH", "EXPLICIT_PRECISION"], start=0)  # [py8.2]
    if generation.has_bindings:
        return enum.IntEnum("Flag", ["EXPLICIT_BATCH"], start=0)
    if generation.is_always_typed:
        return enum.IntEnum("Flag", ["STRONGLY_TYPED"], start=0)  # [10to11]
    return enum.IntEnum("Flag", ["EXPLICIT_BATCH", "STRONGLY_TYPED"], start=0)  # [8to10]


def _builder_flags(generation: Generation) -> Any:
    names = ["DEBUG", "GPU_FALLBACK", "REFIT", "TF32"]
    return enum.IntEnum("BuilderFlag", names if generation.is_always_typed else ["FP16", "INT8"] + names)  # [10to11]


class ILogger:
    """[py8.2] a class to derive from, whose own constructor must be called."""

    Severity = Severity

    def __init__(self) -> None:
        self._is_constructed = True


class IProfiler:
    """[prof]"""

    def __init__(self) -> None:
        self._is_constructed = True


class Builder:
    """[py8.2] create_network, create_builder_config, create_optimization_profile, build_serialized_network."""

    def __init__(self, state: Any, log: Any) -> None:
        assert log._is_constructed, "a logger whose base constructor was not called"
        self._state, self._log = state, log

    def create_network(self, flags: int) -> Any:
        if self._state.generation.needs_explicit_batch and not flags & 1:
            raise RuntimeError("the ONNX parser takes networks with an explicit batch only")
        return Network(self._state, flags)

    def create_builder_config(self) -> Any:
        return PoolConfig() if self._state.generation.has_pools else WorkspaceConfig()

    def create_optimization_profile(self) -> "dict[str, Any]":
        return Profile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        if self._state.fault == "build_oom":
            self._log.log(
                Severity.ERROR, "1: Requested amount of GPU memory (1073741824 bytes) could not be allocated."
            )
            self._log.log(
                Severity.ERROR, "2: [virtualMemoryBuffer.cpp::resizePhysical::145] OutOfMemory (out of memory)"
            )
            return None
        free = [tensor.name for tensor in network.inputs if -1 in tensor.shape]
        profile = config.profiles[0] if config.profiles else {}
        if any(name not in profile for name in free):
            self._log.log(
                Severity.ERROR, "4: Network has dynamic or shape inputs, but no optimization profile defined."
            )
            return None
        head = {
            "version": self._state.generation.version,
            "capability": self._state.gpu["capability"],
            "profile": profile,
            "flags": sorted(flag.name for flag in config.set_flags),
            "workspace_bytes": config.workspace_bytes(),
            "network_flags": network.flags,
            "onnx": base64.b64encode(network.onnx).decode(),
        }
        return bytearray(json.dumps(head).encode())  # IHostMemory has the buffer protocol


class Profile(dict):  # type: ignore[type-arg]
    """[py8.2] IOptimizationProfile.set_shape(input, min, opt, max)."""

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        self[name] = [list(least), list(best), list(most)]


class Config:
    """[py8.2] IBuilderConfig.set_flag, add_optimization_profile, profiling_verbosity."""

    def __init__(self) -> None:
        self.profiles: list[Any] = []
        self.set_flags: list[Any] = []
        self.profiling_verbosity: Any = None

    def set_flag(self, flag: Any) -> None:
        self.set_flags.append(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class WorkspaceConfig(Config):
    """[py8.2] max_workspace_size."""

    max_workspace_size = 16 << 20

    def workspace_bytes(self) -> int:
        return self.max_workspace_size


class PoolConfig(Config):
    """[py8.5] set_memory_pool_limit(pool, pool_size)."""

    _limit = 0

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert pool.name == "WORKSPACE"
        self._limit = pool_size

    def workspace_bytes(self) -> int:
        return self._limit


class Network:
    """[py8.2] INetworkDefinition.num_inputs, get_input."""

    def __init__(self, state: Any, flags: int) -> None:
        self.state, self.flags = state, flags
        self.onnx = b""
        self.inputs: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]


class OnnxParser:
    """[onnx] parse_from_file, num_errors, get_error; an error has desc(), node() and code()."""

    def __init__(self, network: Any, _log: Any) -> None:
        self._network, self._errors = network, []  # type: Any, list[Any]

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def parse_from_file(self, path: str) -> bool:
        with open(path, "rb") as handle:
            content = handle.read()
        if UNSUPPORTED.encode() in content:
            return self._fail(3, "No importer registered for op: {}".format(UNSUPPORTED))  # [errors]
        try:
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except Exception:
            return self._fail(-1, "Failed to parse the ONNX model.")
        self._network.onnx = content
        self._network.inputs = [SimpleNamespace(name=item.name, shape=_shape(item)) for item in session.get_inputs()]
        return True

    def _fail(self, node: int, text: str) -> bool:
        self._errors.append(SimpleNamespace(desc=lambda: text, node=lambda: node, code=lambda: 8))
        return False


class Runtime:
    """[py8.2] deserialize_cuda_engine: None, and a message in the log, for what it can't load."""

    def __init__(self, state: Any, log: Any) -> None:
        self._state, self._log = state, log

    def deserialize_cuda_engine(self, content: bytes) -> Any:
        head, state = json.loads(bytes(content).decode()), self._state
        if head["version"] != state.generation.version:
            text = "The engine plan file is not compatible with this version of TensorRT, please rebuild."
            return self._log.log(Severity.ERROR, "6: " + text)  # [errors]
        if head["capability"] != state.gpu["capability"]:
            text = "The engine plan file is generated on an incompatible device, expecting compute {} got compute {}"
            words = text.format(state.gpu["capability"], head["capability"])
            return self._log.log(Severity.ERROR, "6: {}, please rebuild.".format(words))  # [errors]
        generation = state.generation
        kinds = [(generation.has_bindings, BindingEngine), (generation.has_tensors, TensorEngine)]
        bases = tuple(kind for has, kind in kinds if has) + (Engine,)
        return type("ICudaEngine", bases, {})(state, head)


class Engine:
    """[py8.2] create_execution_context, create_engine_inspector; the rest by generation."""

    def __init__(self, state: Any, head: "dict[str, Any]") -> None:
        self.state, self.head = state, head
        self.session = onnxruntime.InferenceSession(base64.b64decode(head["onnx"]), providers=["CPUExecutionProvider"])
        self.items = list(self.session.get_inputs()) + list(self.session.get_outputs())
        self.n_inputs = len(self.session.get_inputs())

    def create_execution_context(self) -> Any:
        from fake_tensorrt_context import make_context  # type: ignore[import-not-found]

        return make_context(self)

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda _format: json.dumps(self._layers()))

    def _layers(self) -> "dict[str, Any]":
        typed = self.state.generation.is_always_typed
        tensor = (
            {"Name": "t", "Format": "Row major linear FP32 format (kLINEAR)", "DataType": "Float"}
            if typed
            else {"Name": "t", "Format/Datatype": "Row major linear FP32"}
        )
        layers = [
            {"Name": name, "LayerType": kind, "Outputs": [tensor], "TacticName": "fake_tactic_" + str(i)}
            for i, (name, kind, _) in enumerate(LAYERS)
        ]
        names = [item.name for item in self.items]
        tensors = {"I/O Tensors": [{"Name": name} for name in names]} if typed else {"Bindings": names}
        return dict(tensors, Layers=layers)


class BindingEngine:
    """[py8.2], removed by [8to10]."""

    items: "list[Any]"
    n_inputs: int

    @property
    def num_bindings(self) -> int:
        return len(self.items)

    def get_binding_name(self, index: int) -> str:
        return str(self.items[index].name)

    def get_binding_shape(self, index: int) -> Any:
        return tuple(_shape(self.items[index]))

    def get_binding_dtype(self, index: int) -> Any:
        return TYPES[self.items[index].type][0]

    def binding_is_input(self, index: int) -> bool:
        return index < self.n_inputs


class TensorEngine:
    """[py8.5]"""

    items: "list[Any]"
    n_inputs: int

    @property
    def num_io_tensors(self) -> int:
        return len(self.items)

    def get_tensor_name(self, index: int) -> str:
        return str(self.items[index].name)

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if self._index(name) < self.n_inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> Any:
        return tuple(_shape(self.items[self._index(name)]))

    def get_tensor_dtype(self, name: str) -> Any:
        return TYPES[self.items[self._index(name)].type][0]

    def _index(self, name: str) -> int:
        return [item.name for item in self.items].index(name)


def _shape(item: Any) -> "list[int]":
    return [dim if isinstance(dim, int) else -1 for dim in item.shape]
