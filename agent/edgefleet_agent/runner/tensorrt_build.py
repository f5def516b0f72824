"""Building an engine from an ONNX file by its build plan, with every generation of TensorRT's builder from 8.2 to 11.

Attribute names: NVIDIA/TensorRT python/src/infer/pyCore.cpp and python/src/parsers/pyOnnx.cpp, and docs.nvidia.com:
tensorrt/archives/tensorrt-825, tensorrt/11.0.0 (Core/Builder), and the migration pages 8.x to 10.x and 10.x to 11.x.
"""

import sys
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from edgefleet_agent.runner.failure import RunnerFailure

WORDS = 10
"""This many of the parser's or builder's last messages are kept."""

OUT_OF_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "cudaerrormemoryallocation")
"""How the builder words it when the GPU's memory does not suffice, in lower case."""

STRONGLY_TYPED_SINCE, ALWAYS_STRONGLY_TYPED_SINCE = 10, 11
"""Major versions: NetworkDefinitionCreationFlag.STRONGLY_TYPED came with 10; 11 has no other networks and ignores it."""


class BuildRequest(NamedTuple):
    """``plan``: as in the artifact's manifest (edgefleet_deploy.manifest.BuildPlan), or None for the defaults.

    ``batch`` takes the place of a free first dimension that the plan has no shapes for.
    """

    onnx_path: str
    plan: "Optional[Dict[str, Any]]"
    batch: int


def make_log(tensorrt: Any) -> Any:
    """A TensorRT logger that keeps errors in ``errors`` and writes warnings and errors to stderr."""

    class Log(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.errors: "List[str]" = []

        def log(self, severity: Any, msg: str) -> None:
            name = str(getattr(severity, "name", severity))
            if "ERROR" in name:
                self.errors = (self.errors + [msg])[-WORDS:]
            if "ERROR" in name or "WARNING" in name:
                sys.stderr.write("TensorRT {}: {}\n".format(name.lower(), msg))

    return Log()


def major_version(text: str) -> int:
    """First number of a version."""
    return version_numbers(text)[0]


def version_numbers(text: str) -> "Tuple[int, ...]":
    """The numbers of a version such as 8.2.1.8; what follows them is left out."""
    numbers = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers) or (0,)


def check_plan(version: str, plan: "Optional[Dict[str, Any]]") -> None:
    """Raise RunnerFailure(not_supported) where this TensorRT can't carry out the plan; costs no time."""
    if plan is None:
        return
    numbers, least, end = version_numbers(version), plan.get("min_version"), plan.get("max_version")
    if least and numbers < version_numbers(least):
        raise _refused(version, "the artifact is for TensorRT {} or later".format(least))
    if end and numbers >= version_numbers(end):
        raise _refused(version, "the artifact is for TensorRT before {}".format(end))
    if plan.get("flags") and numbers[0] >= ALWAYS_STRONGLY_TYPED_SINCE:
        flags = ", ".join(plan["flags"])
        raise _refused(version, "TensorRT 11 has no builder flags {}: types must be in the ONNX file".format(flags))
    if plan.get("strongly_typed") and numbers[0] < STRONGLY_TYPED_SINCE:
        raise _refused(version, "strongly typed networks need TensorRT {}".format(STRONGLY_TYPED_SINCE))


def build_engine(tensorrt: Any, request: BuildRequest, log: Any) -> bytes:
    """The serialized engine; raises RunnerFailure(engine_build_failed) with the parser's or builder's own words."""
    check_plan(tensorrt.__version__, request.plan)
    if hasattr(tensorrt, "init_libnvinfer_plugins"):
        tensorrt.init_libnvinfer_plugins(log, "")
    builder = tensorrt.Builder(log)
    network = builder.create_network(_network_flags(tensorrt, request.plan))
    _parse(tensorrt.OnnxParser(network, log), request.onnx_path, log)
    config = builder.create_builder_config()
    _configure(tensorrt, config, request.plan or {})
    profile = _profile(builder, network, request)
    if profile is not None:
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise build_failure("the builder", log.errors)
    return bytes(engine)


def build_failure(who: str, words: "List[str]") -> RunnerFailure:
    """The coded failure for what the parser, the builder or trtexec said last."""
    last = words[-1] if words else "no message"
    if any(sign in word.lower() for word in words for sign in OUT_OF_MEMORY):
        return RunnerFailure(
            "out_of_memory",
            "{} ran out of memory: {}; choose a smaller artifact or a smaller workspace in the build plan".format(
                who, last[:500]
            ),
            {"words": words},
        )
    return RunnerFailure(
        "engine_build_failed",
        "TensorRT could not build an engine from the artifact, {} says: {}; look for the named operator or type, or "
        "compile the artifact for another target".format(who, last[:500]),
        {"words": words},
    )


def _network_flags(tensorrt: Any, plan: "Optional[Dict[str, Any]]") -> int:
    """Explicit batch had to be asked for before 10, which ignores it and 11 has no name for it any more."""
    major, names = major_version(tensorrt.__version__), tensorrt.NetworkDefinitionCreationFlag
    flags = 0
    if major < STRONGLY_TYPED_SINCE:
        flags |= 1 << int(names.EXPLICIT_BATCH)
    elif plan is not None and plan.get("strongly_typed") and major < ALWAYS_STRONGLY_TYPED_SINCE:
        flags |= 1 << int(names.STRONGLY_TYPED)
    return flags


def _parse(parser: Any, path: str, log: Any) -> None:
    if parser.parse_from_file(path):
        return
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    words = ["node {}: {}".format(error.node(), error.desc()) for error in errors][-WORDS:]
    raise build_failure("the parser", words or log.errors)


def _configure(tensorrt: Any, config: Any, plan: "Dict[str, Any]") -> None:
    workspace_bytes = plan.get("workspace_bytes")
    if workspace_bytes and hasattr(config, "set_memory_pool_limit"):  # since 8.4
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, workspace_bytes)
    elif workspace_bytes:
        config.max_workspace_size = workspace_bytes
    for name in plan.get("flags", ()):
        config.set_flag(getattr(tensorrt.BuilderFlag, name.upper()))
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED  # the inspector then names precision and tactic


def _profile(builder: Any, network: Any, request: BuildRequest) -> Any:
    """One optimization profile for the inputs with free dimensions; None without such."""
    shapes = (request.plan or {}).get("shapes", {})
    profile = None
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        dims = [int(dim) for dim in tensor.shape]
        if -1 not in dims:
            continue
        planned = shapes.get(tensor.name) or _shapes_of_batch(tensor.name, dims, request.batch)
        profile = profile or builder.create_optimization_profile()
        profile.set_shape(tensor.name, *(tuple(planned[name]) for name in ("min", "opt", "max")))
    return profile


def _shapes_of_batch(name: str, dims: "List[int]", batch: int) -> "Dict[str, List[int]]":
    if -1 in dims[1:]:
        raise RunnerFailure(
            "unsupported_input",
            "input {!r} has free dimensions {} beyond the batch and the build plan has no shapes for it; compile the "
            "artifact with a build plan, or with fixed dimensions".format(name, dims),
        )
    first = dims[1:]
    return {"min": [1] + first, "opt": [batch] + first, "max": [batch] + first}


def _refused(version: str, why: str) -> RunnerFailure:
    return RunnerFailure(
        "not_supported",
        "this board has TensorRT {}, but {}; compile the artifact for this board's target".format(version, why),
        {"tensorrt": version},
    )
