"""Residual networks of basic or bottleneck blocks in plain torch.

ReLU and shortcut are modules and the sum is a plain ``+``, so that torch.fx sees every point where an activation is
stored; no value is shared between two calls of one module.
"""

from collections import OrderedDict

from torch import Tensor, nn

from edgefleet_compression.models.blocks import Bypass
from edgefleet_compression.models.specs import ResNetArguments
from edgefleet_compression.models.specs.resnet import BOTTLENECK_EXPANSION


def make_shortcut(n_in: int, n_out: int, *, stride: int) -> nn.Module:
    """Return a 1x1 convolution where width or resolution changes, else nothing."""
    if stride == 1 and n_in == n_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))


def shortcut_alone(shortcut: nn.Module) -> nn.Module:
    """Return what stays of a block without its work; an input that left a ReLU needs no other one."""
    if isinstance(shortcut, nn.Identity):
        return Bypass()
    return nn.Sequential(OrderedDict(shortcut=shortcut, relu=nn.ReLU()))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, n_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = make_shortcut(n_in, width, stride=stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, width, h / stride, w / stride)."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))  # type: ignore[no-any-return]

    def bypass(self) -> nn.Module:
        """Return the shortcut alone."""
        return shortcut_alone(self.shortcut)


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the stride is in the 3x3, as in torchvision's ResNet-50."""

    def __init__(self, n_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        n_out = width * BOTTLENECK_EXPANSION
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.shortcut = make_shortcut(n_in, n_out, stride=stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, 4 width, h / stride, w / stride)."""
        inner = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        return self.relu3(self.bn3(self.conv3(inner)) + self.shortcut(x))  # type: ignore[no-any-return]

    def bypass(self) -> nn.Module:
        """Return the shortcut alone."""
        return shortcut_alone(self.shortcut)


class ResNet(nn.Module):
    """Stem, stages, global average pooling, one linear layer."""

    def __init__(self, arguments: ResNetArguments) -> None:
        super().__init__()
        is_large = arguments.stem == "imagenet"
        kernel, stride = (7, 2) if is_large else (3, 1)
        self.stem = nn.Conv2d(
            arguments.in_channels, arguments.stem_width, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.stem_bn = nn.BatchNorm2d(arguments.stem_width)
        self.stem_relu = nn.ReLU()
        self.stem_pool = nn.MaxPool2d(3, stride=2, padding=1) if is_large else nn.Identity()
        block, expansion = (BasicBlock, 1) if arguments.block == "basic" else (BottleneckBlock, BOTTLENECK_EXPANSION)
        blocks: list[nn.Module] = []
        n_in = arguments.stem_width
        for stage, (width, count) in enumerate(zip(arguments.widths, arguments.blocks, strict=True)):
            for index in range(count):
                blocks.append(block(n_in, width, stride=2 if stage > 0 and index == 0 else 1))
                n_in = width * expansion
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(n_in, arguments.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, n_classes)."""
        features = self.blocks(self.stem_pool(self.stem_relu(self.stem_bn(self.stem(x)))))
        return self.head(self.flatten(self.pool(features)))  # type: ignore[no-any-return]


def build(arguments: ResNetArguments) -> ResNet:
    """Return the network with He-initialised convolutions (He et al. 2015, arXiv:1502.01852)."""
    model = ResNet(arguments)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
