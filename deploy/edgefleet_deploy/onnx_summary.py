"""What was done to a graph, in numbers: operators before and after, folded patterns, layout."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from onnx import ModelProto
from torch import nn

from edgefleet_deploy.manifest import GraphSummary
from edgefleet_deploy.onnx_session import run_operators

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def count_by_type(model: ModelProto) -> dict[str, int]:
    """Return operator type -> how many of them the graph has; foreign domains are named in front."""
    names = (f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node)
    return dict(sorted(Counter(names).items()))


def summarize(before: Mapping[str, int], model: ModelProto, network: nn.Module | None = None) -> GraphSummary:
    """Return the summary of a finished graph.

    before: operators as exported or as given. network: where the graph came from a torch network, whose BatchNorm the
    exporter may have folded already.
    """
    after = count_by_type(model)
    n_norms = before.get("BatchNormalization", 0)
    if network is not None:
        n_norms = max(n_norms, sum(isinstance(module, _NORMS) for module in network.modules()))
    loaded = run_operators(model)
    fused = {"batch_norm_folded": n_norms - after.get("BatchNormalization", 0), **_loaded_fusions(loaded)}
    return GraphSummary(
        operators_before=dict(before),
        operators_after=after,
        operators_loaded=loaded,
        fused={name: count for name, count in fused.items() if count > 0},
        layout=layout_of(model),
    )


def _loaded_fusions(loaded: Mapping[str, int]) -> dict[str, int]:
    """Name what onnxruntime fuses when it loads the file; it depends on the runtime, not on the file."""
    known = {
        "com.microsoft.FusedConv": "conv_activation_at_load",
        "com.microsoft.nchwc.Conv": "conv_activation_at_load",
        "com.microsoft.FusedGemm": "gemm_activation_at_load",
        "QLinearConv": "integer_convolution_at_load",
        "com.microsoft.QGemm": "integer_product_at_load",
        "com.microsoft.DynamicQuantizeMatMul": "dynamic_product_at_load",
        "com.microsoft.MatMulNBits": "weight_only_product_at_load",
        "com.microsoft.SkipLayerNormalization": "skip_layer_norm_at_load",
        "com.microsoft.BiasGelu": "bias_gelu_at_load",
        "com.microsoft.Attention": "attention_at_load",
        "com.microsoft.MultiHeadAttention": "attention_at_load",
    }
    counts: Counter[str] = Counter()
    for operator, pattern in known.items():
        counts[pattern] += loaded.get(operator, 0)
    return dict(counts)


def layout_of(model: ModelProto) -> Literal["NCHW", "none"]:
    """Return NCHW for a graph with an image or a feature map as input, which is the only layout ONNX operators know."""
    return "NCHW" if any(len(value.type.tensor_type.shape.dim) == 4 for value in model.graph.input) else "none"
