"""What kind of network it is, and what is known to suit that kind: domain, protected layers, ranges of the axes. Torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from edgefleet_compression.structure import Structure

Family = Literal["residual_cnn", "depthwise_cnn", "plain_cnn", "transformer", "mlp"]
Domain = Literal["vision", "text", "vision_and_text", "other"]

Place = Literal["first", "last", "depthwise", "embedding"]
"""What singles a layer out."""

IMAGE_RANK: Final = 3
"""Dimensions of an image without the batch."""


@dataclass(frozen=True)
class Nature:
    """Family, domain and form of a network. n_blocks: those that may be removed whole, 0 where none or not known."""

    family: Family
    domain: Domain
    form: Literal["torch", "onnx"]
    n_blocks: int = 0
    has_batchnorm: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Strategy:
    """Ranges and defaults that suit a family. Every figure's source stands beside it in ``STRATEGIES``.

    most_channels: largest share of channels that a search takes away; most_blocks: of the blocks; suits_dynamic: activations
    are better quantized while running; protected: kinds of layers that keep 8 bits, with the reason.
    """

    most_channels: float
    most_blocks: float
    suits_dynamic: bool
    protected: Mapping[Place, str]


_ENDS: Final[Mapping[Place, str]] = {
    "first": "first layers keep 8 bits (Zhou et al. 2016, DoReFa, arXiv:1606.06160, section 3)",
    "last": "last layers keep 8 bits (Zhou et al. 2016, DoReFa, arXiv:1606.06160, section 3)",
}

STRATEGIES: Final[Mapping[Family, Strategy]] = MappingProxyType(
    {
        "residual_cnn": Strategy(0.75, 0.5, suits_dynamic=False, protected=_ENDS),  # docs/compression/results.md
        "plain_cnn": Strategy(0.75, 0.0, suits_dynamic=False, protected=_ENDS),
        # inverted bottlenecks are thin already (Sandler et al. 2018, arXiv:1801.04381)
        "depthwise_cnn": Strategy(
            0.5,
            0.25,
            suits_dynamic=False,
            protected={
                **_ENDS,
                "depthwise": "few weights with ranges far apart (Sheng et al. 2018, arXiv:1803.08607)",
            },
        ),
        # half of the heads go at little loss (Michel et al. 2019, arXiv:1905.10650), half of the layers of BERT after
        # fine-tuning (Sajjad et al. 2020, arXiv:2004.03844); outlying activations (Bondarenko et al. 2021, arXiv:2109.12948)
        "transformer": Strategy(
            0.5,
            0.5,
            suits_dynamic=True,
            protected={"last": _ENDS["last"], "embedding": "a table of rows, each of which is looked up alone"},
        ),
        "mlp": Strategy(0.75, 0.0, suits_dynamic=True, protected={"last": _ENDS["last"]}),
    }
)
"""Family -> what suits it."""

_ARCHITECTURES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "resnet": "residual_cnn",
        "mobilenet_v2": "depthwise_cnn",
        "efficientnet": "depthwise_cnn",
        "vgg": "plain_cnn",
        "convnet": "plain_cnn",
        "mlp": "mlp",
        "transformer": "transformer",
    }
)
_ATTENTION: Final = frozenset({"softmax", "attention", "multiheadattention"})
_PRODUCTS: Final = frozenset({"matmul", "matmulinteger"})
"""Of two activations; a classifier's last softmax follows a Gemm or a linear layer."""
_CONVOLUTIONS: Final = frozenset({"conv", "conv2d", "convtranspose", "qlinearconv", "convinteger"})


def nature_of(structure: Structure) -> Nature:
    """Return what a torch candidate is, by its structure document."""
    if structure.architecture in _ARCHITECTURES:
        family = _ARCHITECTURES[structure.architecture]
        reasons: tuple[str, ...] = (f"architecture {structure.architecture}",)
    else:
        nodes = structure.arguments.get("nodes", ())
        operators = [str(node.get("operator", "")) for node in nodes if isinstance(node, Mapping)]
        has_depthwise = any(shape.groups > 1 and shape.groups == shape.n_in for shape in structure.layers.values())
        family, reasons = family_of_operators(operators, has_depthwise=has_depthwise)
    domain = domain_of_inputs([(structure.input.dtype, tuple(structure.input.shape))])
    has_batchnorm = any(shape.kind == "batchnorm2d" for shape in structure.layers.values())
    return Nature(family, domain, "torch", _removable(structure), has_batchnorm, reasons)


def nature_of_graph(operators: Iterable[str], inputs: Sequence[tuple[str, tuple[int | None, ...]]]) -> Nature:
    """Return what an ONNX graph without a torch form is. inputs: (dtype, shape without the batch) of each input."""
    family, reasons = family_of_operators(list(operators))
    return Nature(family, domain_of_inputs(inputs), "onnx", reasons=reasons)


def family_of_operators(operators: Sequence[str], *, has_depthwise: bool = False) -> tuple[Family, tuple[str, ...]]:
    """Return the family that a graph's operators speak for, with the reasons."""
    found = {name.rsplit(":", 1)[-1].lower() for name in operators}
    is_normed = bool(found & {"layernormalization", "layernorm", "attention"})
    if found & _ATTENTION and found & _PRODUCTS and (is_normed or not found & _CONVOLUTIONS):
        return "transformer", ("softmax between matrix products",)
    if not found & _CONVOLUTIONS:
        return "mlp", ("no convolution and no attention",)
    if has_depthwise:
        return "depthwise_cnn", ("convolutions with a filter per channel",)
    if "add" in found:
        return "residual_cnn", ("convolutions whose outputs are added",)
    return "plain_cnn", ("convolutions one after the other",)


def domain_of_inputs(inputs: Sequence[tuple[str, tuple[int | None, ...]]]) -> Domain:
    """Return the domain by the inputs' types: whole numbers in a row are token ids, three dimensions of floats an image."""
    has_text = any(dtype.startswith("int") and len(shape) <= 1 for dtype, shape in inputs)
    has_images = any(not dtype.startswith("int") and len(shape) == IMAGE_RANK for dtype, shape in inputs)
    if has_text and has_images:
        return "vision_and_text"
    return "text" if has_text else "vision" if has_images else "other"


@dataclass(frozen=True)
class LayerFacts:
    """A layer with weights, in the network's order."""

    name: str
    kind: str
    is_depthwise: bool = False


def protected_layers(family: Family, layers: Sequence[LayerFacts]) -> dict[str, str]:
    """Return layer -> why it keeps 8 bits, of the layers that the family protects."""
    rules = STRATEGIES[family].protected
    weighted = [layer for layer in layers if layer.kind != "embedding"]
    found: dict[str, str] = {}
    for layer in layers:
        kinds: Mapping[Place, bool] = {
            "first": bool(weighted) and layer == weighted[0],
            "last": bool(weighted) and layer == weighted[-1],
            "depthwise": layer.is_depthwise,
            "embedding": layer.kind == "embedding",
        }
        reason = next((reason for kind, reason in rules.items() if kinds[kind]), None)
        if reason is not None:
            found[layer.name] = reason
    return found


def _removable(structure: Structure) -> int:
    """Return about how many blocks ``remove_blocks`` may take out: residual blocks that keep their shape, encoder layers."""
    arguments: Mapping[str, Any] = structure.arguments
    if structure.architecture == "resnet":
        blocks = [int(count) for count in arguments.get("blocks", ())]
        return max(0, sum(blocks) - len(blocks) + 1 - len(structure.removed))
    if structure.architecture == "transformer":
        return max(0, int(arguments.get("n_layers", 0)) - len(structure.removed))
    return 0
