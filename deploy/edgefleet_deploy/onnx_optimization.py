"""The order of the graph passes: what every ONNX file goes through before it ships."""

from onnx import ModelProto

from edgefleet_deploy.onnx_constants import NEVER_FOLDED, drop_identities, fold_constants, store_constants
from edgefleet_deploy.onnx_fusion import fold_batch_norm
from edgefleet_deploy.onnx_graph import drop_unused, has_subgraphs
from edgefleet_deploy.onnx_lean import make_lean, make_lean_but_explicit
from edgefleet_deploy.onnx_quantization import fold_biases, fold_transposed_weights
from edgefleet_deploy.onnx_versions import ir_version_for, opset_of


def optimize_graph(model: ModelProto, *, ir_version: int) -> None:
    """Fold constants, BatchNorm, weights and biases, then make the file lean; changes the model given.

    A graph with control flow is only made lean: its subgraphs may refer to any outer name.
    """
    graph = model.graph
    if not has_subgraphs(model):
        store_constants(graph)
        drop_identities(graph)
        drop_unused(graph)
        fold_constants(model)
        fold_transposed_weights(graph)
        drop_unused(graph)
        fold_batch_norm(graph)
        fold_biases(graph)
    make_lean(model)
    model.ir_version = ir_version_for(opset_of(model), ir_version)


def optimize_explicit_graph(model: ModelProto, *, ir_version: int) -> None:
    """Do the same for a runtime that quantizes weights itself: they stay float behind their Q/DQ pairs, biases float.

    Attributes that are their defaults stay too. Changes the model given.
    """
    graph = model.graph
    if not has_subgraphs(model):
        store_constants(graph)
        drop_identities(graph)
        drop_unused(graph)
        fold_constants(model, kept=NEVER_FOLDED | {"QuantizeLinear"})
        drop_unused(graph)
        fold_batch_norm(graph)
    make_lean_but_explicit(model)
    model.ir_version = ir_version_for(opset_of(model), ir_version)
