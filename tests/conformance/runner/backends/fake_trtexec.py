"""trtexec without a GPU: takes the options of a version and writes the files in NVIDIA's documented formats.

Built from the documented formats (samples/common/sampleOptions.cpp and sampleReporting.cpp of NVIDIA/TensorRT, and the
trtexec pages of docs.nvidia.com), not recorded. An option that a version lacks ends it with ``Unknown option``, as there.
Run it as ``python fake_trtexec.py VERSION option...``; VERSION is the banner's, such as 8201 or 100300.
"""

# ruff: noqa: B905, PTH123, T201
import json
import sys
from typing import Any

KNOWN = {
    "onnx", "saveEngine", "loadEngine", "profilingVerbosity", "minShapes", "optShapes", "maxShapes", "shapes", "loadInputs",
    "iterations", "duration", "warmUp", "exportTimes", "exportOutput", "exportProfile", "exportLayerInfo", "dumpProfile",
    "separateProfileRun",
}  # fmt: skip
BEFORE_11 = {"fp16", "int8"}
COMPUTE_MS, COPY_MS = 0.8, 0.1
WARM_UP_QUERIES = 5


def main() -> int:
    number, options = int(sys.argv[1]), dict(_split(text) for text in sys.argv[2:])
    print("&&&& RUNNING TensorRT.trtexec [TensorRT v{}] # trtexec".format(number))
    if "help" in options:
        return 0
    unknown = sorted(set(options) - known_options(number))
    if unknown:
        print("[11/21/2026-12:00:00] [E] Unknown option: --{} {}".format(unknown[0], options[unknown[0]]))
        return 1
    if "saveEngine" in options:
        return build(options)
    return run(options, with_warm_up=number < 8500)


def known_options(number: int) -> "set[str]":
    """What sampleOptions.cpp of the version takes."""
    if number < 10000:
        return KNOWN | BEFORE_11 | ({"workspace", "buildOnly"} if number < 8400 else {"memPoolSize", "skipInference"})
    later = KNOWN | {"memPoolSize", "skipInference"}
    return later if number >= 110000 else later | BEFORE_11 | {"stronglyTyped"}


def build(options: "dict[str, str]") -> int:
    with open(options["onnx"], "rb") as handle:
        content = handle.read()
    if b"Det" in content:
        print("[11/21/2026-12:00:00] [E] [TRT] ModelImporter.cpp:726: ERROR: No importer registered for op: Det")
        print("[11/21/2026-12:00:00] [E] Failed to parse onnx file")
        return 1
    with open(options["saveEngine"], "wb") as handle:
        handle.write(content)
    return 0


def run(options: "dict[str, str]", with_warm_up: bool) -> int:
    import numpy as np  # not at the top: the program is started often, and mostly for other things
    import onnxruntime

    session = onnxruntime.InferenceSession(options["loadEngine"], providers=["CPUExecutionProvider"])
    shapes = dict(text.split(":") for text in options["shapes"].split(","))
    files = dict(text.split(":", 1) for text in options["loadInputs"].split(","))
    feeds = {
        name: np.fromfile(path, dtype=np.float32).reshape([int(dim) for dim in shapes[name].split("x")])
        for name, path in files.items()
    }
    outputs = session.run(None, feeds)
    print("[11/21/2026-12:00:00] [I] Timing trace has {} queries over 1 s".format(options.get("iterations", "10")))
    if "exportOutput" in options:
        named = zip([item.name for item in session.get_outputs()], outputs)
        _write(options["exportOutput"], [_tensor(name, value) for name, value in named])
    if "exportTimes" in options:
        _write(options["exportTimes"], times(int(options["iterations"]), float(options["warmUp"]), with_warm_up))
    if "exportProfile" in options:
        _write(options["exportProfile"], PROFILE)
        _write(options["exportLayerInfo"], LAYERS)
    return 0


def times(n_queries: int, warm_up_ms: float, with_warm_up: bool) -> "list[dict[str, float]]":
    """exportJSONTrace: milliseconds on trtexec's own clock; 8.2 writes the warm-up's queries too."""
    early = [-2.0 * i for i in range(WARM_UP_QUERIES, 0, -1)] if with_warm_up and warm_up_ms else []
    starts = [warm_up_ms + offset for offset in early] + [warm_up_ms + i for i in range(n_queries)]
    return [_query(start) for start in starts]


def _query(compute_ms: float) -> "dict[str, float]":
    begin, end = compute_ms - COPY_MS, compute_ms + COMPUTE_MS
    clock = {"startEnqMs": begin, "endEnqMs": begin + 0.01, "startH2dMs": begin, "endH2dMs": compute_ms}
    clock.update(startComputeMs=compute_ms, endComputeMs=end, startD2hMs=end, endD2hMs=end + COPY_MS)
    return dict(clock, h2dMs=COPY_MS, computeMs=COMPUTE_MS, d2hMs=COPY_MS, latencyMs=COMPUTE_MS + 2 * COPY_MS)


PROFILE = [
    {"count": 100},
    {"name": "linear", "timeMs": 60.0, "averageMs": 0.6, "medianMs": 0.6, "percentage": 75.0},
    {
        "name": "Reformatting CopyNode for Output 0",
        "timeMs": 20.0,
        "averageMs": 0.2,
        "medianMs": 0.2,
        "percentage": 25.0,
    },
]
LAYERS = {
    "Layers": [
        {
            "Name": "linear",
            "LayerType": "CaskGemmMatrixMultiply",
            "Outputs": [{"Name": "y", "Dimensions": [8, 3], "Format/Datatype": "Row major linear FP16 format"}],
            "TacticName": "sm80_xmma_gemm_f16f16",
            "TacticValue": "0x11bde0e1d9f2f35d",
        },
        {
            "Name": "Reformatting CopyNode for Output 0",
            "LayerType": "Reformat",
            "Outputs": [{"Name": "y", "Dimensions": [8, 3], "Format/Datatype": "Row major linear FP32"}],
            "TacticValue": "0x00000000000003e8",
        },
    ],
    "Bindings": ["x", "y"],
}


def _tensor(name: str, value: Any) -> "dict[str, object]":
    dims = "x".join(str(dim) for dim in value.shape)
    return {"name": name, "dimensions": dims, "values": [float("{:.6g}".format(number)) for number in value.ravel()]}


def _split(text: str) -> "tuple[str, str]":
    name, _, value = text[2:].partition("=")
    return name, value


def _write(path: str, content: object) -> None:
    with open(path, "w") as handle:
        json.dump(content, handle)


if __name__ == "__main__":
    sys.exit(main())
