"""Networks by the name that papers call them: an architecture of the zoo and the arguments that make it this one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_IMAGENET_WIDTHS: Final = (64, 128, 256, 512)
_BERT: Final[Mapping[str, Any]] = {
    "vocabulary": 30522,
    "length": 512,
    "n_token_types": 2,
    "has_pooler": True,
    "pooling": "cls",
}


def _resnet(blocks: tuple[int, ...], *, stem: str = "imagenet", block: str = "basic") -> tuple[str, Mapping[str, Any]]:
    return "resnet", {"stem": stem, "stem_width": 64, "widths": _IMAGENET_WIDTHS, "blocks": blocks, "block": block}


def _cifar_resnet(n_per_stage: int) -> tuple[str, Mapping[str, Any]]:
    return "resnet", {"stem": "cifar", "stem_width": 16, "widths": (16, 32, 64), "blocks": (n_per_stage,) * 3}


def _vgg(blocks: tuple[int, ...], head: str) -> tuple[str, Mapping[str, Any]]:
    return "vgg", {"blocks": blocks, "head": head}


def _bert(width: int, n_layers: int, **changes: Any) -> tuple[str, Mapping[str, Any]]:
    shape = {"width": width, "n_layers": n_layers, "n_heads": width // 64, "feed_forward": 4 * width}
    return "transformer", {**_BERT, **shape, **changes}


_VGG: Final = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

NAMED: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = MappingProxyType(
    {
        "resnet-18": _resnet((2, 2, 2, 2)),
        "resnet-34": _resnet((3, 4, 6, 3)),
        "resnet-50": _resnet((3, 4, 6, 3), block="bottleneck"),
        "resnet-18-cifar": _resnet((2, 2, 2, 2), stem="cifar"),
        "resnet-34-cifar": _resnet((3, 4, 6, 3), stem="cifar"),
        "resnet-50-cifar": _resnet((3, 4, 6, 3), stem="cifar", block="bottleneck"),
        "resnet-20": _cifar_resnet(3),
        "resnet-56": _cifar_resnet(9),
        **{f"vgg-{depth}": _vgg(blocks, "imagenet") for depth, blocks in _VGG.items()},
        **{f"vgg-{depth}-cifar": _vgg(blocks, "cifar") for depth, blocks in _VGG.items()},
        "mobilenet-v2": ("mobilenet_v2", {"form": "imagenet"}),
        "mobilenet-v2-cifar": ("mobilenet_v2", {"form": "cifar"}),
        "efficientnet-b0": ("efficientnet", {"variant": "b0"}),
        "efficientnet-lite0": ("efficientnet", {"variant": "lite0"}),
        # a tenth and a twentieth of VGG-19's 20 million weights for CIFAR
        "convnet-small": ("convnet", {"widths": (80, 160, 320, 512)}),
        "convnet-tiny": ("convnet", {"widths": (56, 112, 224, 384)}),
        "convnet-separable": ("convnet", {"widths": _IMAGENET_WIDTHS, "convolution": "separable"}),
        "bert-tiny": _bert(128, 2),
        "bert-mini": _bert(256, 4),
        "bert-small": _bert(512, 4),
        "minilm-l6": _bert(384, 6, n_heads=12),
        "distilbert": _bert(768, 6, n_token_types=0, has_pooler=False),
        "bert-base": _bert(768, 12),
    }
)
"""Name -> architecture and arguments. Channels, classes, vocabulary and length follow the data."""


def architecture_of(name: str) -> str:
    """Return the architecture of a named network; an architecture's own name comes back as it is."""
    return NAMED[name][0] if name in NAMED else name


def fitted_arguments(
    name: str, arguments: Mapping[str, Any], follow: Mapping[str, Any], *, n_classes: int
) -> Mapping[str, Any]:
    """Return the arguments of a named network, or of an architecture, for data that others ``follow`` from; given ones win."""
    own = NAMED[name][1] if name in NAMED else {}
    return {**own, **follow, "n_classes": n_classes, **arguments}
