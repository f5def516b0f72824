"""Which onnxruntime loads which ONNX file."""

from onnx import ModelProto, TensorProto, helper

from edgefleet_deploy.targets import parse_version

OPSET_SINCE: tuple[tuple[str, int, int], ...] = (
    ("1.10", 15, 8),
    ("1.11", 16, 8),
    ("1.12", 17, 8),
    ("1.14", 18, 8),
    ("1.15", 19, 9),
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.21", 22, 10),
    ("1.23", 23, 11),
    ("1.24", 25, 13),
    ("1.25", 26, 13),
)
"""(onnxruntime release, newest opset, newest IR version it loads); releases between two rows are like the earlier one.

Found by loading a one-node file of each opset and IR version on x86-64 Linux with 1.10.0, 1.11.1, 1.12.1, 1.13.1, 1.14.1,
1.15.1, 1.16.3, 1.17.3, 1.18.1, 1.19.2, 1.20.1, 1.21.1, 1.22.1, 1.23.2, 1.24.4, 1.25.1, 1.26.0 to 1.30.0 and 1.31.1. It
agrees with the vendor's table (onnxruntime.ai/docs/reference/compatibility.html) where that has a row. 1.10 is the
oldest version that edgefleet supports.
"""


def min_onnxruntime_version(opset: int, ir_version: int) -> str | None:
    """Return the oldest supported onnxruntime that loads such a file; None when it is newer than all known ones."""
    return next(
        (release for release, newest, newest_ir in OPSET_SINCE if opset <= newest and ir_version <= newest_ir), None
    )


INT4_SINCE = "1.19"
"""Oldest onnxruntime that loads int4 constants: 1.18.1, though it has opset 21, refuses the type; 1.19.2, 1.20.1 and 1.21.1
were seen to compute with it."""


def min_version_of(model: ModelProto) -> str | None:
    """Return the oldest supported onnxruntime that loads this file; None when it is newer than all known ones."""
    release = min_onnxruntime_version(opset_of(model), int(model.ir_version))
    has_int4 = any(tensor.data_type in (TensorProto.INT4, TensorProto.UINT4) for tensor in model.graph.initializer)
    if release is None or not has_int4:
        return release
    return max(release, INT4_SINCE, key=parse_version)


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators the model imports; 1 where it states none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def ir_version_for(opset: int, wanted: int) -> int:
    """Return the lowest IR version that may carry this opset, but not less than the target's own (``wanted``)."""
    needed: int = helper.find_min_ir_version_for([helper.make_opsetid("", opset)], ignore_unknown=True)
    return max(needed, wanted)
