"""Compares the fakes of tests/conformance/runner with NVIDIA's own Python bindings, without a GPU and without TensorRT.

The bindings (wheels tensorrt_bindings-8.6.1, tensorrt_cu12_bindings-10.3.0, tensorrt_cu13_bindings-11.4.0.106 and the
like, fetched by hand with ``pip download --no-deps``) need libnvinfer, which is not in them: empty libraries of its names
take its place, so that the module can be imported and looked at, though nothing of it can run. Needs gcc and binutils.

    python tests/hardware/tensorrt/check_bindings.py WHEEL...
"""

# ruff: noqa: T201
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

BACKENDS = Path(__file__).parents[2] / "conformance/runner/backends"
CLASSES = {
    "BindingEngine": "ICudaEngine",
    "TensorEngine": "ICudaEngine",
    "Engine": "ICudaEngine",
    "Builder": "Builder",
    "Runtime": "Runtime",
    "Network": "INetworkDefinition",
    "OnnxParser": "OnnxParser",
    "Profile": "IOptimizationProfile",
    "PoolConfig": "IBuilderConfig",
    "WorkspaceConfig": "IBuilderConfig",
    "BindingContext": "IExecutionContext",
    "TensorContext": "IExecutionContext",
}
"""Class of the fake -> class of the bindings."""

OWN = {
    "fix",
    "shape_of",
    "start",
    "inputs",
    "onnx",
    "state",
    "workspace_bytes",
    "items",
    "n_inputs",
    "names",
    "addresses",
}
"""Attributes of the fakes that are their own machinery."""

LIBC = ("Py", "_Py", "_ITM", "__gmon", "_ZTV", "_ZSt", "_ZNSt", "_ZNKSt", "__cxa", "_Unwind")
INHERITED = set(dir(dict)) | {"profiles", "set_flags"}


def main() -> int:
    """Check every wheel in a process of its own; 1 when a fake has something that the bindings lack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    n_missing = 0
    for wheel in parser.parse_args().wheels:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            zipfile.ZipFile(wheel).extractall(folder)
            module = next(folder.rglob("tensorrt.so"))
            _write_empty_libraries(module, folder / "stubs")
            n_missing += _check(module, folder / "stubs", wheel.name.split("-")[1])
    return 1 if n_missing else 0


def _write_empty_libraries(module: Path, folder: Path) -> None:
    folder.mkdir()
    dynamic = subprocess.run(["readelf", "-d", module], capture_output=True, text=True, check=True).stdout
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", module], capture_output=True, text=True, check=True
    ).stdout
    wanted = [line.split()[-1] for line in symbols.splitlines()]
    vendor = [name for name in wanted if "@" not in name and not name.startswith(LIBC)]
    source = folder / "empty.c"
    source.write_text("\n".join("void *{}(void) {{ return 0; }}".format(name) for name in vendor))
    for library in re.findall(r"NEEDED.*\[(libnv[^\]]*)\]", dynamic):
        command = ["gcc", "-w", "-shared", "-fPIC", "-o", str(folder / library), "-Wl,-soname," + library, str(source)]
        subprocess.run(command, check=True)


def _check(module: Path, stubs: Path, version: str) -> int:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(BACKENDS)}
    command = [sys.executable, __file__, "--inside", str(module), version]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(answer.splitlines()[-1])
    print(
        "{}: {} attributes checked, missing in the bindings: {}".format(version, found["n"], found["missing"] or "none")
    )
    return len(found["missing"])


def _inside(path: str, version: str) -> None:
    """In the child: import the bindings and look for everything the fake of this version offers."""
    import importlib.util

    import fake_tensorrt  # type: ignore[import-not-found]
    import fake_tensorrt_context  # type: ignore[import-not-found]

    from edgefleet_agent.runner.tensorrt_api import DTYPES
    from edgefleet_agent.runner.tensorrt_build import make_log

    spec = importlib.util.spec_from_file_location("tensorrt", path)
    assert spec is not None
    assert spec.loader is not None
    real: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    generation = fake_tensorrt.Generation(".".join(version.split(".")[:3]))
    module = fake_tensorrt.make_tensorrt(generation.version, None, {"capability": "8.7"})
    wanted = [("", name) for name in vars(module) if name != "__version__"]
    skipped = {"BindingEngine", "BindingContext", "WorkspaceConfig"} if not generation.has_bindings else set()
    for fake, name in CLASSES.items():
        kind = getattr(fake_tensorrt, fake, None) or getattr(fake_tensorrt_context, fake)
        offered = {item for item in [*dir(kind), *_instance_names(kind)] if not item.startswith("_")}
        wanted += [] if fake in skipped else [(name, item) for item in sorted(offered - OWN - INHERITED)]
    for enum in ("NetworkDefinitionCreationFlag", "BuilderFlag", "ProfilingVerbosity", "LayerInformationFormat"):
        wanted += [(enum, item.name) for item in getattr(module, enum)]
    known = set(real.DataType.__members__)
    wanted += [("DataType", name) for name in DTYPES if name in known or name not in ("UINT8", "INT64")]
    missing = [".".join(pair) for pair in wanted if not hasattr(getattr(real, pair[0], real), pair[1])]
    log = make_log(real)
    log.log(real.ILogger.Severity.ERROR, "words")
    missing += [] if log.errors == ["words"] else ["ILogger.log"]
    print(json.dumps({"n": len(wanted) + 1, "missing": missing}))


def _instance_names(kind: Any) -> "list[str]":
    return ["profiling_verbosity"] if kind.__name__.endswith("Config") else []


if __name__ == "__main__":
    if "--inside" in sys.argv:
        _inside(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
