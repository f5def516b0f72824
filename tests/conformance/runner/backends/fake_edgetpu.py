"""Stands for an interpreter with libedgetpu: what both vendors' packages and pycoral re-export in the tests' folders.

It computes y = x W in float from quantized inputs, on files that hold the name of the Edge TPU's operator, and behaves
as ``fake_edgetpu.json`` beside the packages says. After libedgetpu (edgetpu_delegate_for_custom_op.cc), an operator that
was taken stays in the list, and the delegate's own joins it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SCALE, ZERO_POINT = 0.05, 3
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) - 6


def script() -> "dict[str, Any]":
    places = [Path(folder) / "fake_edgetpu.json" for folder in sys.path]
    return json.loads(next(place for place in places if place.exists()).read_text())  # type: ignore[no-any-return]


class OpResolverType:
    AUTO = 0
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 1


def load_delegate(library: str, options: "dict[str, str] | None" = None) -> str:
    asked = (options or {}).get("device", "")
    faults = script()
    if faults.get("library") == "missing":
        raise OSError("{}: cannot open shared object file: No such file or directory".format(library))
    if asked not in faults.get("devices", ["", "usb", "usb:0", ":0"]):
        raise ValueError("Failed to load delegate from {}\n".format(library))
    return "delegate " + asked


def make_interpreter(path: str, device: "str | None" = None) -> "Interpreter":
    delegate = load_delegate("libedgetpu.so.1", {"device": device} if device else {})
    return Interpreter(model_path=path, experimental_delegates=[delegate])


def get_runtime_version() -> str:
    return "BuildLabel(COMPILER=6.3.0,DATE=redacted,TIME=redacted), RuntimeVersion(14)"


class Interpreter:
    def __init__(
        self,
        model_path: str,
        num_threads: int = 1,
        experimental_delegates: "list[str] | None" = None,
        experimental_op_resolver_type: int = OpResolverType.AUTO,
    ) -> None:
        content = Path(model_path).read_bytes()
        self._script = script()
        self._delegates = experimental_delegates or []
        self._is_compiled = b"edgetpu-custom-op" in content
        self._arrays: dict[int, Any] = {}
        if content.endswith(b"truncated"):
            raise ValueError("The model is not a valid Flatbuffer file")
        if not self._script.get("lists", True):
            setattr(self, "_get_ops_details", None)  # noqa: B010 - a method of the class, gone in this object

    def allocate_tensors(self) -> None:
        if self._is_compiled and not self._delegates:
            raise RuntimeError(
                "Encountered unresolved custom op: edgetpu-custom-op.\nNode number 0 (edgetpu-custom-op) failed to prepare."
            )
        if "allocate" in self._script:
            raise RuntimeError(self._script["allocate"])

    def _get_ops_details(self) -> "list[dict[str, Any]]":
        taken = ["EdgeTpuDelegateForCustomOp"] * self._script.get("n_taken", 1)
        names = ["edgetpu-custom-op", *self._script.get("on_cpu", []), *taken]
        return [{"index": index, "op_name": name} for index, name in enumerate(names)]

    def get_input_details(self) -> "list[dict[str, Any]]":
        return [
            {"name": "x", "index": 0, "shape": [1, 4], "dtype": np.int8, "quantization": (SCALE, ZERO_POINT)},
        ]

    def get_output_details(self) -> "list[dict[str, Any]]":
        return [{"name": "y", "index": 1, "shape": [1, 3], "dtype": np.float32, "quantization": (0.0, 0)}]

    def set_tensor(self, index: int, array: "np.ndarray[Any, Any]") -> None:
        self._arrays[index] = array

    def invoke(self) -> None:
        real = (self._arrays[0].astype(np.float32) - ZERO_POINT) * np.float32(SCALE)
        self._arrays[1] = real @ WEIGHTS

    def get_tensor(self, index: int) -> "np.ndarray[Any, Any]":
        return self._arrays[index]  # type: ignore[no-any-return]
