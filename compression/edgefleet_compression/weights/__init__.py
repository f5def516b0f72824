"""Networks with weights from Python packages, which are an extra and installed by the person who wants them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.weights import efficientnet_lite0, mini_lm

__all__ = ["PRETRAINED", "load_pretrained"]

PRETRAINED: Final[Mapping[str, Callable[[], TorchCandidate]]] = MappingProxyType(
    {"efficientnet-lite0": efficientnet_lite0.load, "minilm-l6": mini_lm.load}
)
"""Name -> loader."""


def load_pretrained(name: str) -> TorchCandidate:
    """Return the network with its weights; raises ModelFileInvalid.

    Codes: ``weights_unknown``, ``weights_not_installed`` (the message says what to install), ``weights_unexpected``.
    """
    if name not in PRETRAINED:
        raise ModelFileInvalid(
            f"There are no packaged weights {name!r}; known: {', '.join(sorted(PRETRAINED))}.", code="weights_unknown"
        )
    return PRETRAINED[name]()
