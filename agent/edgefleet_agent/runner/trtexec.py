"""NVIDIA's program trtexec: its command lines by version, and the files it writes. Pure but for reading its version.

Sources: samples/common/sampleOptions.cpp and sampleReporting.cpp of NVIDIA/TensorRT; docs.nvidia.com/deeplearning/
tensorrt, "Command-Line Programs", "Migrating trtexec Usage from TensorRT 8.x to 10.x" and "... from 10.x to 11.x".
"""

import os
import re
import shutil
import subprocess
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgefleet_agent.runner.failure import RunnerFailure

USUAL_PLACE = "/usr/src/tensorrt/bin/trtexec"
"""Where JetPack and the .deb packages install it."""

BANNER = re.compile(r"\[TensorRT v(\d+)\]")
"""``&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # ...``: major*1000 + minor*100 + patch; from 10 on major*10000."""

MIB = 1024 * 1024
HELP_TIMEOUT_S = 60.0


class TimedQueries(NamedTuple):
    """Timed inferences: start on trtexec's own clock, and latency (copy in, compute, copy out), milliseconds each."""

    start_ms: "List[float]"
    latency_ms: "List[float]"


def find_trtexec() -> "Optional[str]":
    """Path of trtexec, from PATH or where NVIDIA's packages put it."""
    found = shutil.which("trtexec")
    if found is None and os.access(USUAL_PLACE, os.X_OK):
        return USUAL_PLACE
    return found


def read_version(program: str) -> str:
    """TensorRT's version from the banner; raises RunnerFailure(runtime_unavailable) where there is none."""
    try:
        answer = subprocess.run(
            [program, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=HELP_TIMEOUT_S, check=False
        )
        return parse_version(answer.stdout.decode("utf-8", "replace"))
    except (OSError, subprocess.TimeoutExpired) as err:
        raise RunnerFailure("runtime_unavailable", "{} can't be started: {}".format(program, err)) from err


def parse_version(text: str) -> str:
    """Version in the first banner of trtexec's output."""
    found = BANNER.search(text)
    if found is None:
        raise RunnerFailure(
            "runtime_unavailable",
            "trtexec did not state its version; its libraries may be missing: {}".format(text.strip()[-300:]),
        )
    number = int(found.group(1))
    unit = 10000 if number >= 100000 else 1000
    return "{}.{}.{}".format(number // unit, number % unit // 100, number % 100)


def build_command(
    program: str, version: "Tuple[int, ...]", onnx_path: str, engine_path: str, plan: "Optional[Dict[str, Any]]"
) -> "List[str]":
    """The command that builds an engine by the plan and does not run it."""
    plan = plan or {}
    command = [program, "--onnx=" + onnx_path, "--saveEngine=" + engine_path, "--profilingVerbosity=detailed"]
    command.append("--skipInference" if version >= (8, 6) else "--buildOnly")
    if plan.get("workspace_bytes"):
        size_mib = max(1, int(plan["workspace_bytes"]) // MIB)
        option = "--memPoolSize=workspace:{}" if version >= (8, 4) else "--workspace={}"
        command.append(option.format(size_mib))
    command += ["--" + flag for flag in plan.get("flags", ())]  # none from 11 on: tensorrt_build.check_plan
    if plan.get("strongly_typed") and version < (11,):
        command.append("--stronglyTyped")
    shapes = plan.get("shapes", {})
    if shapes:
        command += ["--{}Shapes={}".format(which, shapes_text(shapes, which)) for which in ("min", "opt", "max")]
    return command


def run_command(program: str, engine_path: str, options: "Sequence[str]") -> "List[str]":
    """The command that runs a built engine: these options are the same from 8.2 to 11."""
    return [program, "--loadEngine=" + engine_path] + list(options)


def shapes_text(shapes: "Dict[str, Dict[str, Sequence[int]]]", which: str) -> str:
    """Shapes as trtexec wants them: name:1x3x32x32, joined by commas."""
    return ",".join("{}:{}".format(quoted(name), dims_text(shapes[name][which])) for name in sorted(shapes))


def dims_text(dims: "Sequence[int]") -> str:
    """Dimensions joined by x."""
    return "x".join(str(int(dim)) for dim in dims)


def quoted(name: str) -> str:
    """The name of a tensor; one with a colon stands in single quotes."""
    return "'{}'".format(name) if ":" in name else name


def read_times(entries: "List[Dict[str, Any]]", warmup_ms: float) -> TimedQueries:
    """The queries of --exportTimes without the warm-up, which 8.2 writes too and later versions leave out.

    A query belongs to the warm-up when its computation began before its end, as in trtexec's own report.
    """
    timed = [entry for entry in entries if float(entry["startComputeMs"]) >= warmup_ms]
    starts = [float(entry["startH2dMs"]) for entry in timed]
    return TimedQueries(starts, [float(entry["latencyMs"]) for entry in timed])


def read_outputs(entries: "List[Dict[str, Any]]") -> "Dict[str, np.ndarray[Any, Any]]":
    """The tensors of --exportOutput as float64 (their type is not in the file; floats have six digits there)."""
    found = {}
    for entry in entries:
        dims = [int(dim) for dim in str(entry["dimensions"]).split("x") if dim]
        found[str(entry["name"])] = np.asarray(entry["values"], dtype=np.float64).reshape(dims)
    return found
