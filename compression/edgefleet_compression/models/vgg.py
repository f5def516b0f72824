"""VGG with BatchNorm in plain torch (Simonyan and Zisserman 2015, arXiv:1409.1556)."""

from torch import Tensor, nn

from edgefleet_compression.models.specs import VggArguments


class Vgg(nn.Module):
    """Five stages of convolutions and max pooling, then the head."""

    def __init__(self, arguments: VggArguments) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = arguments.in_channels
        for width, count in zip(arguments.widths, arguments.blocks, strict=True):
            for _ in range(count):
                # a bias although BatchNorm follows: the published counts have it
                layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                n_in = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        is_large = arguments.head == "imagenet"
        self.pool = nn.Identity() if is_large else nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        hidden: list[nn.Module] = []
        if is_large:
            hidden = [nn.Linear(n_in * arguments.pooled_side**2, arguments.hidden), nn.ReLU(), nn.Dropout(0.5)]
            hidden += [nn.Linear(arguments.hidden, arguments.hidden), nn.ReLU(), nn.Dropout(0.5)]
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(arguments.hidden if is_large else n_in, arguments.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, in_channels, h, w) to logits (n, n_classes)."""
        return self.head(self.hidden(self.flatten(self.pool(self.features(x)))))  # type: ignore[no-any-return]


def build(arguments: VggArguments) -> Vgg:
    """Return the network with He-initialised convolutions (He et al. 2015, arXiv:1502.01852)."""
    model = Vgg(arguments)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
