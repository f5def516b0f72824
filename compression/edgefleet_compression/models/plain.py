"""Small networks in plain torch: a perceptron, and stacks of convolutions for students."""

from itertools import pairwise

from torch import Tensor, nn

from edgefleet_compression.models.specs import ConvNetArguments, MlpArguments


class Mlp(nn.Module):
    """Flatten, linear layers with ReLU between them."""

    def __init__(self, arguments: MlpArguments) -> None:
        super().__init__()
        widths = (arguments.n_inputs, *arguments.hidden)
        hidden: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            hidden += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.flatten = nn.Flatten()
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(widths[-1], arguments.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (n, ...) to logits (n, n_classes)."""
        return self.head(self.hidden(self.flatten(x)))  # type: ignore[no-any-return]


class ConvNet(nn.Module):
    """Convolutions with BatchNorm and ReLU, global average pooling, one linear layer."""

    def __init__(self, arguments: ConvNetArguments) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = arguments.in_channels
        for index, width in enumerate(arguments.widths):
            stride = 1 if index == 0 else 2
            is_split = index > 0 and arguments.convolution == "separable"
            layers += _separable(n_in, width, stride=stride) if is_split else _full(n_in, width, stride=stride)
            n_in = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(n_in, arguments.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, n_classes)."""
        return self.head(self.flatten(self.pool(self.features(x))))  # type: ignore[no-any-return]


def _full(n_in: int, n_out: int, *, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]


def _separable(n_in: int, n_out: int, *, stride: int) -> list[nn.Module]:
    depthwise = nn.Conv2d(n_in, n_in, 3, stride=stride, padding=1, groups=n_in, bias=False)
    pointwise = nn.Conv2d(n_in, n_out, 1, bias=False)
    return [depthwise, nn.BatchNorm2d(n_in), nn.ReLU(), pointwise, nn.BatchNorm2d(n_out), nn.ReLU()]


def build_mlp(arguments: MlpArguments) -> Mlp:
    """Return the network with torch's initial weights."""
    return Mlp(arguments)


def build_convnet(arguments: ConvNetArguments) -> ConvNet:
    """Return the network with He-initialised convolutions."""
    model = ConvNet(arguments)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
