"""Targets: what a compiled file is for. Importing this module loads neither torch nor onnx."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from edgefleet_compression.precision import Precision
from edgefleet_deploy.errors import TargetInvalid

CHANNEL_MULTIPLE: Final = 8
"""onnxruntime: blocks of 8 channels with AVX2, 16 with AVX-512; others are padded, grouped convolutions of other counts fall
back to slower kernels (core/optimizer/nchwc_transformer.cc). XNNPACK under LiteRT: 8 output channels in most of its
f32-gemm and qs8-gemm microkernels (the NR in their names, such as 6x8). TensorRT: float16 layout HWC8 (TensorFormat in its
API reference). Edge TPU and Core ML publish no number: 8 is what Google's own EfficientNet-EdgeTPU rounds widths to.
"""

TENSORRT_INT8_MULTIPLE: Final = 32
"""TensorRT's int8 layout CHW32 (TensorFormat in its API reference)."""


@dataclass(frozen=True)
class Target:
    """One runtime and the oldest version of it that must be able to load the file.

    precisions: what the runtime computes rightly; a candidate of another one is refused. opset and ir_version: what a
    file is written with (0 for formats that have none). activation_type and weight_type: the integers of an int8 file,
    chosen because the runtime is fast with them. extension: with its dot. boards: the kinds of board that can run it;
    empty means any. channel_multiple and int8_channel_multiple: channels that its kernels compute at a time, in float and in
    int8 files; pruning keeps to a multiple of them (``CHANNEL_MULTIPLE`` has the sources).
    """

    name: str
    runtime: str
    file_format: str
    min_version: str
    opset: int
    ir_version: int
    activation_type: str
    weight_type: str
    extension: str
    precisions: tuple[Precision, ...]
    boards: tuple[str, ...] = ()
    channel_multiple: int = CHANNEL_MULTIPLE
    int8_channel_multiple: int = CHANNEL_MULTIPLE

    def __post_init__(self) -> None:
        """Refuse a value that no compiler could act on."""
        parse_version(self.min_version)
        if not self.extension.startswith("."):
            raise TargetInvalid(
                "target {!r}: extension {!r} must begin with a dot".format(self.name, self.extension),
                code="target_invalid",
            )

    def multiple_for(self, precision: Precision | None) -> int:
        """Return the channel multiple for files of this precision; None: not known yet, float."""
        return self.int8_channel_multiple if precision == "int8" else self.channel_multiple

    @property
    def file_name(self) -> str:
        """Name of the artifact file; the extension tells a runner the format."""
        return f"model{self.extension}"


def parse_version(text: str) -> tuple[int, ...]:
    """Return ``1.10`` as (1, 10), so that versions compare as numbers and 1.9 is older than 1.10."""
    try:
        return tuple(int(part) for part in text.split("."))
    except ValueError as err:
        raise TargetInvalid(
            f"version {text!r} is not a dotted row of numbers such as 1.10", code="target_invalid"
        ) from err


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.name: target
        for target in (
            # opset 13 is the first with per-channel DequantizeLinear (ONNX operator changelog) and IR 7 the version that
            # belongs to it; onnxruntime 1.10, the newest for the Python 3.6 of JetPack 4.6, loads both. uint8 activations
            # with int8 weights is the fast pair of onnxruntime's x86 and ARM kernels.
            Target(
                name="onnxruntime",
                runtime="onnxruntime",
                file_format="onnx",
                min_version="1.10",
                opset=13,
                ir_version=7,
                activation_type="uint8",
                weight_type="int8",
                extension=".onnx",
                precisions=("fp32", "fp16", "int8", "int8-dynamic", "int8-weights"),
            ),
            # opset 21 is the first with int4 and with one scale per block (ONNX operator changelog); 1.19 the oldest
            # onnxruntime seen to compute with it (onnx_versions.INT4_SINCE). Files without int4 say an older version.
            Target(
                name="onnxruntime-current",
                runtime="onnxruntime",
                file_format="onnx",
                min_version="1.19",
                opset=21,
                ir_version=10,
                activation_type="uint8",
                weight_type="int8",
                extension=".onnx",
                precisions=("fp32", "fp16", "int8", "int8-dynamic", "int8-weights", "int4-weights", "int4"),
            ),
            # opset 25 is the first with int2 (onnx_weights.INT2_OPSET): weights of 2 bits and 1 take 2 in the file instead of 4
            Target(
                name="onnxruntime-1.24",
                runtime="onnxruntime",
                file_format="onnx",
                min_version="1.24",
                opset=25,
                ir_version=13,
                activation_type="uint8",
                weight_type="int8",
                extension=".onnx",
                precisions=("fp32", "fp16", "int8", "int8-dynamic", "int8-weights", "int4-weights"),
            ),
            # ai-edge-litert 2.1 is the newest for Python 3.9, tflite-runtime 2.11 the newest for Python 3.7; both were seen to
            # run these files. tflite-runtime computes int8-dynamic wrongly without an error and knows no 4-bit tensors.
            Target(
                name="litert",
                runtime="litert",
                file_format="tflite",
                min_version="2.1",
                opset=0,
                ir_version=0,
                activation_type="int8",
                weight_type="int8",
                extension=".tflite",
                precisions=("fp32", "int8", "int8-dynamic", "int8-weights", "int4-weights"),
            ),
            Target(
                name="tflite-runtime",
                runtime="tflite-runtime",
                file_format="tflite",
                min_version="2.11",
                opset=0,
                ir_version=0,
                activation_type="int8",
                weight_type="int8",
                extension=".tflite",
                precisions=("fp32", "int8", "int8-weights"),
            ),
            # The litert file of static int8, compiled further by edgetpu_compiler for Edge TPU runtimes from this version on:
            # 14 is what compiler 16 wants and libedgetpu 16 brings (both of 2021, the newest there are). One file runs on
            # both boards; any host with the accelerator plugged in is a coral-usb.
            Target(
                name="coral-usb",
                runtime="edgetpu",
                file_format="edgetpu",
                min_version="14",
                opset=0,
                ir_version=0,
                activation_type="int8",
                weight_type="int8",
                extension=".edgetpu.tflite",
                precisions=("int8",),
            ),
            Target(
                name="coral-dev-board",
                runtime="edgetpu",
                file_format="edgetpu",
                min_version="14",
                opset=0,
                ir_version=0,
                activation_type="int8",
                weight_type="int8",
                extension=".edgetpu.tflite",
                precisions=("int8",),
                boards=("coral-dev-board",),
            ),
            # Engines are built on the device from this ONNX and its build plan (tensorrt_plans). 8.2 reads opsets up to 13
            # (onnx-tensorrt, docs/operators.md), and the Jetson Nano's GPU has no int8 arithmetic (github ceccocats/tkDNN
            # issue 26: its own runtime says "Int8 support: 0"), so int8 would only be slower float there.
            Target(
                name="tensorrt-8.2",
                runtime="tensorrt",
                file_format="onnx",
                min_version="8.2",
                opset=13,
                ir_version=7,
                activation_type="int8",
                weight_type="int8",
                extension=".onnx",
                precisions=("fp32", "fp16"),
                boards=("jetson-nano",),
            ),
            Target(
                name="tensorrt-10.3",
                runtime="tensorrt",
                file_format="onnx",
                min_version="10.3",
                opset=18,
                ir_version=8,
                activation_type="int8",
                weight_type="int8",
                extension=".onnx",
                precisions=("fp32", "fp16", "int8"),
                int8_channel_multiple=TENSORRT_INT8_MULTIPLE,
                boards=("jetson-orin-nano",),
            ),
            # strongly typed: the file's own types decide, the only kind since TensorRT 11; JetPack has no 11
            Target(
                name="tensorrt",
                runtime="tensorrt",
                file_format="onnx",
                min_version="10.0",
                opset=18,
                ir_version=8,
                activation_type="int8",
                weight_type="int8",
                extension=".onnx",
                precisions=("fp32", "fp16", "int8"),
                int8_channel_multiple=TENSORRT_INT8_MULTIPLE,
                boards=("linux-host",),
            ),
            # macOS 13 and iOS 16: the first whose ML programs take float16 inputs and compressed weights (coremltools'
            # guide, "New in iOS 16"). For export: no agent runs Core ML, so that no device of ours is of this board.
            Target(
                name="coreml",
                runtime="coreml",
                file_format="mlpackage",
                min_version="13",
                opset=0,
                ir_version=0,
                activation_type="float16",
                weight_type="int8",
                extension=".mlpackage.zip",
                precisions=("fp32", "fp16", "int8-weights"),
                boards=("apple",),
            ),
        )
    }
)
"""Every known target by name."""

DEFAULT_TARGET = "onnxruntime"


def get_target(name: str) -> Target:
    """Return the target of this name; TargetInvalid ``unknown_target`` names those that exist."""
    try:
        return TARGETS[name]
    except KeyError:
        known = ", ".join(sorted(TARGETS))
        raise TargetInvalid(
            f"target {name!r} is not known; known targets: {known}", detail={"known": sorted(TARGETS)}
        ) from None


def target_from_request(request: Mapping[str, Any]) -> Target:
    """Return the target that ``{"name": ..., "min_version": ...}`` asks for.

    A newer ``min_version`` than the target's own is kept (the file may then need it); an older one is refused with
    ``target_version_unsupported``, because no file of this compiler was ever seen to load there.
    """
    unknown = set(request) - {"name", "min_version"}
    if unknown:
        raise TargetInvalid(
            f"target: unknown field {sorted(unknown)[0]!r}; a target has name and min_version", code="target_invalid"
        )
    name = request.get("name", DEFAULT_TARGET)
    if not isinstance(name, str):
        raise TargetInvalid("target: name must be text such as onnxruntime", code="target_invalid")
    target = get_target(name)
    version = request.get("min_version")
    if version is None:
        return target
    if not isinstance(version, str):
        raise TargetInvalid("target: min_version must be text such as 1.10", code="target_invalid")
    if parse_version(version) < parse_version(target.min_version):
        raise TargetInvalid(
            f"target {name}: version {version} is older than {target.min_version}, the oldest that is supported",
            code="target_version_unsupported",
        )
    return replace(target, min_version=version)
