"""A model that trtexec runs, for boards whose Python has no tensorrt: every inference is a process of its own.

The timed part is one process that trtexec times itself; see Model.time_series.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np

from edgefleet_agent.runner.backend import Arrays, LoadRequest, Model, TensorFacts
from edgefleet_agent.runner.cuda_memory import GpuFacts
from edgefleet_agent.runner.engine_cache import EngineCache, engine_key, engine_origin, open_cache
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.protocol import die_with_parent
from edgefleet_agent.runner.tensorrt_build import build_failure, check_plan, version_numbers
from edgefleet_agent.runner.tensorrt_layers import read_layers, read_profile, trace_of
from edgefleet_agent.runner.timing import Series, Window, monotonic_ns
from edgefleet_agent.runner.trtexec import (
    build_command,
    dims_text,
    find_trtexec,
    quoted,
    read_outputs,
    read_times,
    read_version,
    run_command,
)

WARMUP_MS = 200.0
"""trtexec's own default."""

TIMED = "Timing trace has"
"""trtexec prints this line right after its last inference (sampleReporting.cpp, printProlog): it ties the two clocks."""

ERROR_MARK = "[E]"


def open_with_trtexec(request: LoadRequest, gpu: "Optional[GpuFacts]", release: "Optional[str]") -> Model:
    """Build the engine with trtexec, or take it from the cache; without a known GPU no engine is kept for later."""
    program = request.options.get("trtexec") or find_trtexec()
    if program is None:
        raise RunnerFailure("runtime_unavailable", "there is neither a module tensorrt nor a program trtexec")
    version = read_version(program)
    check_plan(version, request.options.get("build_plan"))
    inputs, outputs = _tensors(request.options, "inputs"), _tensors(request.options, "outputs")
    folder = tempfile.mkdtemp(prefix="trtexec-", dir=os.getcwd())  # the run's own folder, which the agent clears
    cache = None if gpu is None else open_cache(request.options)
    origin = None if gpu is None else dict(engine_origin(version, gpu, release, request), built_by="trtexec")
    engine = _obtain_engine(program, version, request, Kept(cache, origin), os.path.join(folder, "engine"))
    model = _Trtexec(program, folder, [item.name for item in outputs], {item.name: item.dtype for item in inputs})
    profiles = bool(request.options.get("profile_prefix"))
    return Model(
        inputs=inputs,
        outputs=outputs,
        facts={"version": version, "providers": ["GPU"], "driver": "trtexec", "release": release, "engine": engine},
        prepare=model.prepare,
        invoke=model.remember if profiles else model.invoke,
        read_outputs=model.read_outputs,
        end_profiling=model.write_profile if profiles else None,
        time_series=model.time_series,
    )


class Kept(NamedTuple):
    """Where the engine is kept for later, and under what; both None where it is not."""

    cache: "Optional[EngineCache]"
    origin: "Optional[Dict[str, Any]]"


class _Trtexec:
    """Runs one engine; whatever trtexec writes goes to the folder."""

    def __init__(self, program: str, folder: str, outputs: "List[str]", dtypes: "Dict[str, str]") -> None:
        self._program, self._folder, self._outputs, self._dtypes = program, folder, outputs, dtypes
        self._last_feed: "Optional[Arrays]" = None
        self._latency_ms = 0.0

    def prepare(self, arrays: Arrays) -> Arrays:
        """Inputs as the engine wants them."""
        return {name: np.ascontiguousarray(arrays[name], dtype=dtype) for name, dtype in self._dtypes.items()}

    def remember(self, feed: Arrays) -> None:
        """Stands for an inference where only the profile is wanted, which trtexec makes in a process of its own."""
        self._last_feed = feed

    def invoke(self, feed: Arrays) -> "Dict[str, np.ndarray[Any, Any]]":
        """One inference; starting the process is most of its time, so that it is never timed."""
        path, times = (os.path.join(self._folder, name) for name in ("outputs.json", "times.json"))
        files = ["--exportOutput=" + path, "--exportTimes=" + times]
        _run(self._command(feed, "--iterations=1", "--duration=0", "--warmUp=0", *files))
        self._latency_ms = max(read_times(_read_json(times), 0.0).latency_ms, default=0.0)
        return read_outputs(_read_json(path))

    def read_outputs(self, result: "Dict[str, np.ndarray[Any, Any]]") -> "List[np.ndarray[Any, Any]]":
        """Outputs in the order of the manifest, as float32."""
        return [result[name].astype(np.float32) for name in self._outputs]

    def time_series(self, feed: Arrays, window: Window) -> Series:
        """The timed part as trtexec times it: host latency of each query, starts on this process's clock."""
        path, before = os.path.join(self._folder, "times.json"), _children_cpu_s()
        fitting = window.max_seconds * 1e3 / self._latency_ms if self._latency_ms else float(window.min_samples)
        n_least = max(1, int(min(window.min_samples, fitting)))  # trtexec has no end by time
        options = ["--duration={:g}".format(window.seconds), "--iterations={}".format(n_least)]
        options += ["--warmUp={:g}".format(WARMUP_MS), "--exportTimes=" + path]
        ended_ns = _run(self._command(feed, *options))
        queries = read_times(_read_json(path), WARMUP_MS)
        if not queries.start_ms:
            raise RunnerFailure(
                "runner_protocol", "trtexec wrote no timed inference; this version writes another format"
            )
        last_ms = queries.start_ms[-1] + queries.latency_ms[-1]
        starts = array("q", [int(ended_ns - (last_ms - start_ms) * 1e6) for start_ms in queries.start_ms])
        latencies = array("q", [int(latency_ms * 1e6) for latency_ms in queries.latency_ms])
        return Series(starts, latencies, _children_cpu_s() - before)

    def write_profile(self) -> str:
        """Profile the last feed in a process of its own; the path of the file in the agent's format."""
        if self._last_feed is None:
            raise RunnerFailure("not_supported", "nothing has run yet that could be profiled")
        times, layers = (os.path.join(self._folder, name) for name in ("profile.json", "layers.json"))
        options = ["--separateProfileRun", "--dumpProfile", "--exportProfile=" + times, "--exportLayerInfo=" + layers]
        _run(self._command(self._last_feed, *options))
        means = [(entry.name, entry.time_us / 1e3) for entry in read_profile(_read_json(times))]
        path = os.path.join(self._folder, "trace.json")
        with open(path, "w") as handle:
            json.dump(trace_of(means, read_layers(_read_json(layers))), handle)
        return path

    def _command(self, feed: Arrays, *options: str) -> "List[str]":
        files, shapes = [], []
        for number, (name, value) in enumerate(sorted(feed.items())):
            path = os.path.join(self._folder, "input{}.bin".format(number))
            value.tofile(path)
            files.append("{}:{}".format(quoted(name), path))
            shapes.append("{}:{}".format(quoted(name), dims_text(value.shape)))
        given = ["--loadInputs=" + ",".join(files), "--shapes=" + ",".join(shapes)]
        return run_command(self._program, os.path.join(self._folder, "engine"), given + list(options))


def _obtain_engine(program: str, version: str, request: LoadRequest, kept: Kept, path: str) -> "Dict[str, Any]":
    """Write the engine to ``path``, from the cache or newly built."""
    key = None if kept.origin is None else engine_key(kept.origin)
    cached = None if kept.cache is None or key is None else kept.cache.find(key)
    if cached is not None:
        with open(path, "wb") as handle:
            handle.write(cached.content)
        return {"key": key, "size_bytes": len(cached.content), "cached": True, "build_ms": None}
    started, plan = time.perf_counter(), request.options.get("build_plan")
    _run(build_command(program, version_numbers(version), request.artifact, path, plan), is_build=True)
    build_ms = (time.perf_counter() - started) * 1e3
    with open(path, "rb") as handle:
        content = handle.read()
    if kept.cache is not None and kept.origin is not None:
        kept.cache.store(kept.origin, content)
    return {"key": key, "size_bytes": len(content), "cached": False, "build_ms": build_ms}


def _run(command: "List[str]", is_build: bool = False) -> int:
    """Run trtexec to its end; when its inferences ended (CLOCK_MONOTONIC, ns). Its words go to stderr and into failures."""
    errors: "List[str]" = []
    ended_ns = None
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        preexec_fn=die_with_parent,  # a build that outlives its run would disturb the next one
    )
    assert child.stdout is not None, "started with a pipe"
    for line in child.stdout:
        if TIMED in line:
            ended_ns = monotonic_ns()
        if ERROR_MARK in line:
            errors = (errors + [line.strip()])[-10:]
            sys.stderr.write(line)
    status = child.wait()
    if status == 0:
        return ended_ns or monotonic_ns()
    if is_build or any("memory" in word.lower() for word in errors):
        raise build_failure("trtexec", errors)
    raise RunnerFailure(
        "accelerator_error",
        "trtexec ended with status {}: {}".format(status, errors[-1][:500] if errors else "no message"),
        {"words": errors},
    )


def _read_json(path: str) -> Any:
    try:
        with open(path) as handle:
            return json.load(handle)
    except (OSError, ValueError) as err:
        raise RunnerFailure("runner_protocol", "trtexec's file can't be read ({}): {}".format(path, err)) from err


def _tensors(options: "Dict[str, Any]", which: str) -> "List[TensorFacts]":
    """Inputs or outputs as the manifest has them: trtexec does not tell their types."""
    named = options.get(which)
    if not named:
        raise RunnerFailure(
            "not_supported",
            "without the module tensorrt the artifact's manifest must say what its {} are; measure it through a "
            "controller, or install TensorRT's Python module".format(which),
        )
    return [
        TensorFacts(item["name"], [dim if isinstance(dim, int) else None for dim in item["shape"]], item["dtype"])
        for item in named
    ]


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
