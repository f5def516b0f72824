"""A model on TensorRT's Python API: engine from the cache or newly built, execution, profile by layer."""

import json
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from edgefleet_agent.runner.backend import LoadRequest, Model, TensorFacts
from edgefleet_agent.runner.cuda_memory import CudaRuntime, GpuFacts
from edgefleet_agent.runner.engine_cache import engine_key, engine_origin, open_cache
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tensorrt_api import IoTensor, api_for
from edgefleet_agent.runner.tensorrt_build import BuildRequest, build_engine, build_failure, check_plan, make_log
from edgefleet_agent.runner.tensorrt_execution import Execution
from edgefleet_agent.runner.tensorrt_layers import read_layers, trace_of

RELEASE_FILE = "/etc/nv_tegra_release"
"""First line on a Jetson, such as ``# R32 (release), REVISION: 7.1, GCID: ..., BOARD: t210ref``."""


class Platform(NamedTuple):
    """What engines are built with and for; tests put their own together."""

    tensorrt: Any
    cuda: CudaRuntime
    release: "Optional[str]"


class Engine(NamedTuple):
    """A deserialized engine and where it came from. ``build_ms`` is None where it came from the cache."""

    handle: Any
    runtime: Any
    facts: "Dict[str, Any]"


def open_on(platform: Platform, request: LoadRequest) -> Model:
    """``open_model`` on a given platform."""
    version, options = str(platform.tensorrt.__version__), request.options
    check_plan(version, options.get("build_plan"))
    gpu = platform.cuda.gpu_facts()
    free_before = platform.cuda.free_bytes()
    log = make_log(platform.tensorrt)
    engine = _obtain_engine(platform, request, engine_origin(version, gpu, platform.release, request), log)
    api = api_for(engine.handle)
    tensors = api.tensors()
    execution = Execution(engine, api, tensors, platform.cuda, log, mapped=_wants_mapped(options, gpu))
    facts = {
        "version": version,
        "providers": ["GPU"],
        "api": api.name,
        "gpu": dict(gpu._asdict()),
        "release": platform.release,
        "engine": engine.facts,
        "gpu_load_bytes": max(0, free_before - platform.cuda.free_bytes()),
        "memory": "mapped" if _wants_mapped(options, gpu) else "device",
    }
    return Model(
        inputs=[_facts(tensor) for tensor in tensors if tensor.is_input],
        outputs=[_facts(tensor) for tensor in tensors if not tensor.is_input],
        facts=facts,
        prepare=execution.prepare,
        invoke=execution.invoke,
        read_outputs=execution.read_outputs,
        end_profiling=_profiler(platform, engine, execution, options.get("profile_prefix")),
    )


def platform_release(path: str = RELEASE_FILE) -> "Optional[str]":
    """The Jetson Linux release, such as R32.7.1; None on other computers."""
    try:
        with open(path) as handle:
            words = handle.readline().replace(",", " ").split()
    except OSError:
        return None
    if "REVISION:" not in words[:-1] or len(words) < 2:
        return None
    return "{}.{}".format(words[1], words[words.index("REVISION:") + 1])


def _obtain_engine(platform: Platform, request: LoadRequest, origin: "Dict[str, Any]", log: Any) -> Engine:
    cache, key = open_cache(request.options), engine_key(origin)
    runtime = platform.tensorrt.Runtime(log)
    cached = None if cache is None else cache.find(key)
    if cache is not None and cached is not None:
        handle = runtime.deserialize_cuda_engine(cached.content)
        if handle is not None:
            return Engine(handle, runtime, _engine_facts(key, cached.content, None))
        cache.drop(key)  # built by another version or for another GPU, whatever its key says
    started = time.perf_counter()
    wanted = BuildRequest(request.artifact, request.options.get("build_plan"), int(request.options.get("batch", 1)))
    content = build_engine(platform.tensorrt, wanted, log)
    build_ms = (time.perf_counter() - started) * 1e3
    if cache is not None:
        cache.store(origin, content)
    handle = runtime.deserialize_cuda_engine(content)
    if handle is None:
        raise build_failure("the runtime that was to load it", log.errors)
    return Engine(handle, runtime, _engine_facts(key, content, build_ms))


def _engine_facts(key: str, content: bytes, build_ms: "Optional[float]") -> "Dict[str, Any]":
    return {"key": key, "size_bytes": len(content), "cached": build_ms is None, "build_ms": build_ms}


def _wants_mapped(options: "Dict[str, Any]", gpu: GpuFacts) -> bool:
    """Tensors in memory that host and GPU share, where asked for; raises RunnerFailure(not_supported) without such."""
    wanted = options.get("memory", "device")
    if wanted not in ("device", "mapped"):
        raise RunnerFailure("not_supported", "memory is device or mapped, not {!r}".format(wanted))
    if wanted == "mapped" and not gpu.can_map_host_memory:
        raise RunnerFailure("not_supported", "{} can't map the host's memory; use memory device".format(gpu.name))
    return bool(wanted == "mapped")


def _profiler(platform: Platform, engine: Engine, execution: Execution, prefix: "Optional[str]") -> Any:
    """Attach a profiler where a profile is wanted; the function that writes the profile and returns its path."""
    if not prefix:
        return None
    times: "List[Tuple[str, float]]" = []

    class Profiler(platform.tensorrt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            platform.tensorrt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times.append((layer_name, ms))

    execution.attach_profiler(Profiler())

    def write() -> str:
        path = prefix + ".json"
        with open(path, "w") as handle:
            json.dump(trace_of(times, read_layers(inspect(platform.tensorrt, engine.handle))), handle)
        return path

    return write


def inspect(module: Any, handle: Any) -> "Dict[str, Any]":
    """What the engine inspector says of the engine, parsed."""
    text = handle.create_engine_inspector().get_engine_information(module.LayerInformationFormat.JSON)
    try:
        return dict(json.loads(text))
    except ValueError:  # an engine of few named layers makes some versions write no JSON
        return {}


def _facts(tensor: IoTensor) -> TensorFacts:
    return TensorFacts(tensor.name, [None if dim < 0 else dim for dim in tensor.shape], tensor.dtype)
