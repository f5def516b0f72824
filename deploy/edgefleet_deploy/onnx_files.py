"""Making a person's own ONNX graph fit a target: shapes, opset, IR version."""

from collections.abc import Iterator

import numpy as np
from onnx import (
    ModelProto,
    TensorProto,
    ValueInfoProto,
    checker,
    helper,
    inliner,
    numpy_helper,
    shape_inference,
    version_converter,
)

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_export import BATCH_SYMBOL
from edgefleet_deploy.onnx_graph import has_subgraphs, subgraphs
from edgefleet_deploy.onnx_lean import drop_unused_opsets
from edgefleet_deploy.onnx_versions import ir_version_for, opset_of

IR_WITH_FREE_INITIALIZERS = 4
"""First IR version in which constants need not be listed as inputs (onnx/onnx.proto, IR_VERSION_2019_1_22)."""
ALLOWED_DOMAINS = frozenset({"", "ai.onnx"})
CONVERSION_ERRORS = (
    version_converter.ConvertError,
    checker.ValidationError,
    shape_inference.InferenceError,
    RuntimeError,
    ValueError,
)


def copy_model(model: ModelProto) -> ModelProto:
    """Return an independent copy with local functions inlined, since old runtimes know none."""
    copied = ModelProto()
    copied.CopyFrom(model)
    return inliner.inline_local_functions(copied) if copied.functions else copied


def refuse_unsupported(model: ModelProto) -> None:
    """Raise CandidateRefused for operators of other domains, free inner dimensions, and weights that are NaN."""
    _refuse_domains(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in stored:
            _refuse_free_dimensions(value)
    for tensor in model.graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
            _refuse_nan(tensor)


def _refuse_domains(model: ModelProto) -> None:
    for node in model.graph.node:
        inner = [item.domain for graph in subgraphs(node) for item in graph.node]
        for domain in (node.domain, *inner):
            if domain not in ALLOWED_DOMAINS:
                raise CandidateRefused(
                    f"operator {node.op_type} is of domain {domain!r}, which not every runtime of the target has: export "
                    f"the model with standard operators",
                    code="custom_domain",
                    detail={"operator": node.op_type, "domain": domain},
                )


def _refuse_free_dimensions(value: ValueInfoProto) -> None:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise CandidateRefused(
            f"input {value.name!r} has no stated shape: export the model with shapes",
            code="dynamic_shape",
            detail={"input": value.name},
        )
    for position, dim in enumerate(tensor.shape.dim):
        if position > 0 and not (dim.HasField("dim_value") and dim.dim_value > 0):
            name = dim.dim_param or "unnamed"
            raise CandidateRefused(
                f"input {value.name!r} leaves dimension {position} ({name}) free; only the batch (dimension 0) may be free. "
                f"Fix it: python -m onnxruntime.tools.make_dynamic_shape_fixed --dim_param {name} --dim_value SIZE IN OUT",
                code="dynamic_shape",
                detail={"input": value.name, "dimension": position, "symbol": name},
            )


def _refuse_nan(tensor: TensorProto) -> None:
    if np.isnan(numpy_helper.to_array(tensor)).any():
        raise CandidateRefused(
            f"tensor {tensor.name!r} holds NaN: the model was saved from a training that diverged",
            code="non_finite_weights",
            detail={"tensor": tensor.name},
        )


def name_batch(model: ModelProto) -> None:
    """Call every free first dimension of inputs and outputs ``N``; other output dimensions are left as they are."""
    symbols = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in model.graph.input
        if value.type.tensor_type.shape.dim and not value.type.tensor_type.shape.dim[0].HasField("dim_value")
    }
    if not symbols:
        return
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for position, dim in enumerate(dims):
            is_batch = not dim.HasField("dim_value") and (position == 0 or (dim.dim_param and dim.dim_param in symbols))
            if is_batch:
                dim.dim_param = BATCH_SYMBOL


def opset_candidates(model: ModelProto, opset: int) -> Iterator[ModelProto]:
    """Yield the graph in another opset, each way checked against that opset's operator definitions.

    First under the other number as it is (downwards only: most new operator versions only add element types), then as
    onnx's converter rewrites it. Whether it still computes the same is for the caller to compare.
    """
    drop_unused_opsets(model)
    if opset < opset_of(model) and not has_subgraphs(model):
        yield from _checked(_stamped(model, opset), opset)
    try:
        converted = version_converter.convert_version(_stamped(model, opset_of(model)), opset)
    except CONVERSION_ERRORS:
        return
    yield from _checked(converted, opset)


def _checked(model: ModelProto, opset: int) -> Iterator[ModelProto]:
    model.ir_version = ir_version_for(opset, 0)
    try:
        checker.check_model(model, full_check=True)
    except CONVERSION_ERRORS:
        return
    if opset_of(model) == opset:
        yield model


def _stamped(model: ModelProto, opset: int) -> ModelProto:
    """Return a copy that imports exactly this opset, in an IR version that allows constants outside the inputs."""
    stamped = copy_model(model)
    del stamped.opset_import[:]
    stamped.opset_import.append(helper.make_opsetid("", opset))
    stamped.ir_version = max(stamped.ir_version, IR_WITH_FREE_INITIALIZERS)
    return stamped
