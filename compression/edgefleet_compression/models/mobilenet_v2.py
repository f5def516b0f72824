"""MobileNetV2 in plain torch (Sandler et al. 2018, arXiv:1801.04381).

Without the dropout that some versions put before the head. No module is called twice, and every sum is a plain ``+``.
"""

from typing import Final

from torch import Tensor, nn

from edgefleet_compression.models.blocks import Bypass
from edgefleet_compression.models.specs import MobileNetV2Arguments

EXPANSIONS: Final = (1, 6, 6, 6, 6, 6, 6)
WIDTHS: Final = (16, 24, 32, 64, 96, 160, 320)
STEM_WIDTH: Final = 32
LAST_WIDTH: Final = 1280
STRIDES: Final = {"imagenet": (2, 1, 2, 2, 2, 1, 2, 1), "cifar": (1, 1, 1, 2, 2, 1, 2, 1)}
"""Table 2 of the paper: expansion t, channels c; strides of the stem and of the first block of every stage."""


def round_width(width: float) -> int:
    """Return the nearest multiple of 8, at least 8, never more than a tenth below (the paper's reference code)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def convolution(n_in: int, n_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return convolution and BatchNorm."""
    return [
        nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
    ]


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow again; a shortcut where the shape stays."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        inner = n_in * expansion
        widen = [] if expansion == 1 else [*convolution(n_in, inner, 1), nn.ReLU6()]
        self.body = nn.Sequential(
            *widen,
            *convolution(inner, inner, 3, stride=stride, groups=inner),
            nn.ReLU6(),
            *convolution(inner, n_out, 1),
        )
        self.has_shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / stride, w / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.has_shortcut else y

    def bypass(self) -> nn.Module | None:
        """Return the shortcut alone; None where there is none."""
        return Bypass() if self.has_shortcut else None


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, a wide 1x1 convolution, global average pooling, one linear layer."""

    def __init__(self, arguments: MobileNetV2Arguments) -> None:
        super().__init__()
        factor = arguments.width_multiplier
        strides = STRIDES[arguments.form]
        n_in = round_width(STEM_WIDTH * factor)
        self.stem = nn.Sequential(*convolution(arguments.in_channels, n_in, 3, stride=strides[0]), nn.ReLU6())
        blocks: list[nn.Module] = []
        for width, expansion, stride, count in zip(WIDTHS, EXPANSIONS, strides[1:], arguments.blocks, strict=True):
            n_out = round_width(width * factor)
            for index in range(count):
                blocks.append(InvertedResidual(n_in, n_out, stride=1 if index else stride, expansion=expansion))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        last = round_width(LAST_WIDTH * max(1.0, factor))
        self.last = nn.Sequential(*convolution(n_in, last, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(last, arguments.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, n_classes)."""
        return self.head(self.flatten(self.pool(self.last(self.blocks(self.stem(x))))))  # type: ignore[no-any-return]


def build(arguments: MobileNetV2Arguments) -> MobileNetV2:
    """Return the network with He-initialised convolutions and a head of small weights."""
    model = MobileNetV2(arguments)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    nn.init.normal_(model.head.weight, std=0.01)
    nn.init.zeros_(model.head.bias)
    return model
