"""Convolutions, BatchNorm, pooling and padding of ONNX as nodes of plain layers. Torch-free."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from edgefleet_compression.conversion.builder import BATCH, GraphBuilder, Operand, refused
from edgefleet_compression.conversion.operators import Converter, Operator

Pads = tuple[int, int, int, int]
"""Left, right, top, bottom, as torch's padding layers take them."""


def _two(values: Any, default: int) -> tuple[int, int]:
    """Return a setting of two spatial dimensions; of one, with the height in front."""
    found = tuple(int(value) for value in values) if values is not None else (default, default)
    return (default, found[0]) if len(found) == 1 else (found[0], found[1])


def _pads(node: Operator, shape: tuple[int, ...], kernel: tuple[int, int]) -> Pads:
    auto = bytes(node.settings.get("auto_pad", b"NOTSET")).decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        strides, gaps = _two(node.settings.get("strides"), 1), _two(node.settings.get("dilations"), 1)
        sides: list[tuple[int, int]] = []
        lengths = shape[2:] if len(shape) == 4 else (1, shape[2])
        for length, size, stride, gap in zip(lengths, kernel, strides, gaps, strict=True):
            total = max(0, (-(-length // stride) - 1) * stride + (size - 1) * gap + 1 - length)
            small = total // 2
            sides.append((small, total - small) if auto == "SAME_UPPER" else (total - small, small))
        return (*sides[1], *sides[0])
    given = [int(pad) for pad in node.settings.get("pads", ())] if auto == "NOTSET" else []
    if len(given) == 2:
        return (given[0], given[1], 0, 0)
    if len(given) == 4:
        return (given[1], given[3], given[0], given[2])
    return (0, 0, 0, 0)


class _Plane:
    """A source with two spatial dimensions; one of one gets a height of one for the while."""

    def __init__(self, node: Operator, build: GraphBuilder) -> None:
        self._build = build
        self.shape = build.shape(node.inputs[0])
        self.is_line = len(self.shape) == 3
        if len(self.shape) not in (3, 4) or BATCH in self.shape[1:]:
            raise refused(f"it has {len(self.shape) - 2} spatial dimensions; one and two are converted")
        source = build.computed(node.inputs[0])
        self.place = build.emit("unsqueeze", (source,), {"dim": 2}) if self.is_line else source

    def pad(self, pads: Pads) -> tuple[int, int]:
        """Return the symmetric padding for the layer; other padding becomes a layer of zeros before it."""
        left, right, top, bottom = pads
        if left == right and top == bottom:
            return (top, left)
        self.place = self._build.emit("zeropad2d", (self.place,), {"padding": pads})
        return (0, 0)

    def back(self, place: str) -> str:
        """Return the result in the source's own rank."""
        return self._build.emit("squeeze", (place,), {"dims": (2,)}) if self.is_line else place


def _conv(node: Operator, build: GraphBuilder) -> Operand:
    weight = build.constant(node.inputs[1], "weight").astype(np.float32)
    plane = _Plane(node, build)
    weight = weight[:, :, None, :] if plane.is_line else weight
    name, groups = node.input(2), int(node.settings.get("group", 1))
    kernel = (weight.shape[2], weight.shape[3])
    settings = {
        "padding": plane.pad(_pads(node, plane.shape, kernel)),
        "in_channels": weight.shape[1] * groups,
        "out_channels": weight.shape[0],
        "kernel_size": kernel,
        "stride": _two(node.settings.get("strides"), 1),
        "dilation": _two(node.settings.get("dilations"), 1),
        "groups": groups,
        "bias": int(bool(name)),
    }
    weights = {"weight": weight} | ({"bias": build.constant(name, "bias").astype(np.float32)} if name else {})
    return plane.back(build.emit("conv2d", (plane.place,), settings, hint=node.inputs[1], **weights))


def _batch_norm(node: Operator, build: GraphBuilder) -> Operand:
    scale, shift, mean, variance = (build.constant(name, "statistics").astype(np.float32) for name in node.inputs[1:5])
    eps, rank = float(node.settings.get("epsilon", 1e-5)), len(build.shape(node.inputs[0]))
    source = build.computed(node.inputs[0])
    if rank != 4:  # without spatial dimensions it is a product and a sum, which join the linear layer before
        factor = scale / np.sqrt(variance + np.float32(eps))
        shape = (len(factor), *(1,) * (rank - 2))
        names = [
            build.emit("constant", (), {"shape": shape}, hint=node.inputs[place], value=values.reshape(shape))
            for place, values in ((1, factor), (2, shift - mean * factor))
        ]
        return build.emit("add", (build.emit("mul", (source, names[0])), names[1]))
    return build.emit(
        "batchnorm2d",
        (source,),
        {"num_features": len(scale), "eps": eps},
        hint=node.inputs[1],
        weight=scale,
        bias=shift,
        running_mean=mean,
        running_var=variance,
        num_batches_tracked=np.array(0, np.int64),
    )


def _pool(node: Operator, build: GraphBuilder) -> Operand:
    if len(node.outputs) > 1:
        raise refused("it gives indices too")
    plane = _Plane(node, build)
    kernel = _two(node.settings["kernel_shape"], 1)
    pads = _pads(node, plane.shape, kernel)
    settings: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": _two(node.settings.get("strides"), 1),
        "ceil_mode": int(node.settings.get("ceil_mode", 0)),
    }
    is_uneven = pads[0] != pads[1] or pads[2] != pads[3]
    if node.kind == "MaxPool":
        if is_uneven and build.nodes[-1].op not in ("relu", "relu6"):
            raise refused("it pads unevenly, and zeros may be the largest value")
        settings["dilation"] = _two(node.settings.get("dilations"), 1)
    else:
        counts = int(node.settings.get("count_include_pad", 0))
        if (is_uneven and not counts) or _two(node.settings.get("dilations"), 1) != (1, 1):
            raise refused("it pads unevenly without counting the padding, or is dilated")
        settings["count_include_pad"] = counts
    settings["padding"] = plane.pad(pads)
    return plane.back(build.emit("maxpool2d" if node.kind == "MaxPool" else "avgpool2d", (plane.place,), settings))


def _global_pool(node: Operator, build: GraphBuilder) -> Operand:
    plane = _Plane(node, build)
    op = "global_avgpool2d" if node.kind == "GlobalAveragePool" else "global_maxpool2d"
    return plane.back(build.emit(op, (plane.place,)))


def _pad(node: Operator, build: GraphBuilder) -> Operand:
    name = node.input(1)
    pads = [int(pad) for pad in (build.constant(name, "padding") if name else node.settings["pads"])]
    filling = node.input(2)
    value = float(build.constant(filling, "value").item()) if filling else float(node.settings.get("value", 0.0))
    mode = bytes(node.settings.get("mode", b"constant"))
    if mode != b"constant" or value or len(pads) != 8 or any(pads[place] for place in (0, 1, 4, 5)) or node.input(3):
        raise refused("it is not a padding of height and width with zeros")
    return build.emit("zeropad2d", (build.computed(node.inputs[0]),), {"padding": (pads[3], pads[7], pads[2], pads[6])})


SPATIAL: Final[Mapping[str, Converter]] = MappingProxyType(
    {
        "Conv": _conv,
        "BatchNormalization": _batch_norm,
        "MaxPool": _pool,
        "AveragePool": _pool,
        "GlobalAveragePool": _global_pool,
        "GlobalMaxPool": _global_pool,
        "Pad": _pad,
    }
)
"""ONNX operator -> what makes nodes of it."""
