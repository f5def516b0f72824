"""EfficientNet-B0 and EfficientNet-Lite0 in plain torch (Tan and Le 2019, arXiv:1905.11946).

Without dropout and stochastic depth.
"""

from typing import Final, Literal

from torch import Tensor, nn

from edgefleet_compression.models.blocks import Bypass
from edgefleet_compression.models.mobilenet_v2 import round_width
from edgefleet_compression.models.specs import EfficientNetArguments

EXPANSIONS: Final = (1, 6, 6, 6, 6, 6, 6)
WIDTHS: Final = (16, 24, 40, 80, 112, 192, 320)
KERNELS: Final = (3, 3, 5, 3, 5, 5, 3)
STRIDES: Final = (1, 2, 2, 2, 1, 2, 1)
"""Table 1 of the paper, stages 2 to 8."""
STEM_WIDTH: Final = 32
LAST_WIDTH: Final = 1280
SQUEEZE: Final = 4
"""Channels of a block's input over those inside squeeze-and-excitation (reference code, ``se_ratio`` 0.25)."""
NORM_EPS: Final = 1e-3
"""Epsilon and momentum of the reference code's BatchNorm."""
NORM_MOMENTUM: Final = 0.01


class SqueezeExcitation(nn.Module):
    """Weigh every channel by what the whole image says (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(width, squeezed, 1)
        self.act = nn.SiLU()
        self.expand = nn.Conv2d(squeezed, width, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        shares: Tensor = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        return x * shares


class Block(nn.Module):
    """Inverted residual with an optional squeeze-and-excitation; a shortcut where the shape stays."""

    def __init__(
        self, n_in: int, n_out: int, *, kernel: int, stride: int, expansion: int, variant: EfficientNetArguments
    ) -> None:
        super().__init__()
        inner = n_in * expansion
        body: list[nn.Module] = []
        if expansion != 1:
            body += [nn.Conv2d(n_in, inner, 1, bias=False), _norm(inner), _activation(variant)]
        body += [
            *convolution(inner, inner, kernel, stride=stride, groups=inner, padding=variant.padding),
            _norm(inner),
            _activation(variant),
        ]
        if variant.variant == "b0":
            body.append(SqueezeExcitation(inner, max(1, n_in // SQUEEZE)))
        body += [nn.Conv2d(inner, n_out, 1, bias=False), _norm(n_out)]
        self.body = nn.Sequential(*body)
        self.has_shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / stride, w / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.has_shortcut else y

    def bypass(self) -> nn.Module | None:
        """Return the shortcut alone; None where there is none."""
        return Bypass() if self.has_shortcut else None


class EfficientNet(nn.Module):
    """Stem, seven stages, a wide 1x1 convolution, global average pooling, one linear layer."""

    def __init__(self, arguments: EfficientNetArguments) -> None:
        super().__init__()
        # lite keeps stem and last convolution at their width (efficientnet/lite reference code, fix_head_stem)
        factor = 1.0 if arguments.variant == "lite0" and arguments.width_multiplier > 1 else arguments.width_multiplier
        n_in = round_width(STEM_WIDTH * factor)
        self.stem = nn.Sequential(
            *convolution(arguments.in_channels, n_in, 3, stride=2, groups=1, padding=arguments.padding),
            _norm(n_in),
            _activation(arguments),
        )
        blocks: list[nn.Module] = []
        stages = zip(WIDTHS, KERNELS, STRIDES, EXPANSIONS, arguments.blocks, strict=True)
        for width, kernel, stride, expansion, count in stages:
            n_out = round_width(width * arguments.width_multiplier)
            for index in range(count):
                step = 1 if index else stride
                blocks.append(Block(n_in, n_out, kernel=kernel, stride=step, expansion=expansion, variant=arguments))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        last = round_width(LAST_WIDTH * factor)
        self.last = nn.Sequential(nn.Conv2d(n_in, last, 1, bias=False), _norm(last), _activation(arguments))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(last, arguments.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, n_classes)."""
        return self.head(self.flatten(self.pool(self.last(self.blocks(self.stem(x))))))  # type: ignore[no-any-return]


def convolution(
    n_in: int, n_out: int, kernel: int, *, stride: int, groups: int, padding: Literal["symmetric", "same"]
) -> list[nn.Module]:
    """Return the convolution, after a padding of its own where that differs at the two ends."""
    if stride == 1 or padding == "symmetric":
        return [nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)]
    before = (kernel - 2) // 2  # of an even length, kernel - stride zeros are added in all
    after = kernel - 2 - before
    pad = nn.ZeroPad2d((before, after, before, after))
    return [pad, nn.Conv2d(n_in, n_out, kernel, stride=stride, groups=groups, bias=False)]


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=NORM_EPS, momentum=NORM_MOMENTUM)


def _activation(arguments: EfficientNetArguments) -> nn.Module:
    return nn.SiLU() if arguments.variant == "b0" else nn.ReLU6()


def build(arguments: EfficientNetArguments) -> EfficientNet:
    """Return the network with He-initialised convolutions."""
    model = EfficientNet(arguments)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return model
