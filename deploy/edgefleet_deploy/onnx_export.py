"""From a torch network to an ONNX graph with symbolic batch."""

import contextlib
import io
import warnings

import onnx
import torch
from onnx import ModelProto
from torch import nn

from edgefleet_compression.structure import InputSpec
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_graph import Array

BATCH_SYMBOL = "N"
OUTPUT_NAME = "output"
SCRIPTED_NEWEST_OPSET = 20
"""The TorchScript-based exporter of torch 2.13 writes none newer."""

TRACED_OLDEST_OPSET = 18
"""The torch.export-based exporter silently writes 18 for anything older."""

_TRACE_BATCH = 2
_REFERENCE_BATCH = 64


def refuse_non_finite(model: nn.Module) -> None:
    """Raise CandidateRefused ``non_finite_weights`` naming the first tensor that holds NaN or infinity."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CandidateRefused(
                f"tensor {name!r} holds NaN or infinite values: training diverged; lower the learning rate and train again",
                code="non_finite_weights",
                detail={"tensor": name},
            )


def export_scripted(model: nn.Module, spec: InputSpec, *, opset: int) -> ModelProto:
    """Return the graph of a network in eval mode; input (N, *shape), output named ``output``.

    The TorchScript-based exporter: the one that writes opsets below 18, and the one that takes fake-quant modules
    (torch.export knows no ``fake_quantize_*_tensor_qparams``). Raises CandidateRefused ``not_exportable`` with the
    exporter's own reason.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            torch.onnx.export(
                model.eval(),
                (_trace_sample(spec),),
                buffer,  # type: ignore[arg-type] # the TorchScript-based exporter also writes to a stream
                dynamo=False,
                opset_version=min(opset, SCRIPTED_NEWEST_OPSET),
                input_names=[spec.name],
                output_names=[OUTPUT_NAME],
                dynamic_axes={spec.name: {0: BATCH_SYMBOL}, OUTPUT_NAME: {0: BATCH_SYMBOL}},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as err:
            raise _not_exportable(opset, err) from err
    return onnx.load_from_string(buffer.getvalue())


def export_traced(model: nn.Module, spec: InputSpec, *, opset: int) -> ModelProto:
    """Return the same graph by torch.export, which fuses more: LayerNormalization, Gelu and the like stay one operator.

    opset: 18 or newer. Raises CandidateRefused ``not_exportable`` with the exporter's own reason.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # onnxscript and torch warn of each other's deprecations
        try:
            program = torch.onnx.export(
                model.eval(),
                (_trace_sample(spec),),
                dynamo=True,
                opset_version=opset,
                external_data=False,
                input_names=[spec.name],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: torch.export.Dim(BATCH_SYMBOL)},),
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as err:
            raise _not_exportable(opset, err) from err
    if program is None:
        raise CandidateRefused("the exporter of torch gave no graph", code="not_exportable")
    return program.model_proto


def _trace_sample(spec: InputSpec) -> torch.Tensor:
    # ones, not zeros: token 0 is padding, and a sentence of padding alone takes no ordinary path
    return torch.ones(_TRACE_BATCH, *spec.shape, dtype=getattr(torch, spec.dtype))


def _not_exportable(opset: int, err: Exception) -> CandidateRefused:
    return CandidateRefused(
        f"the network cannot be written as ONNX opset {opset}: {str(err).strip().splitlines()[0][:400]}",
        code="not_exportable",
    )


def run_module(model: nn.Module, inputs: Array) -> Array:
    """Return the network's output (n, ...) for inputs (n, ...), in eval mode."""
    model.eval()
    with torch.no_grad():
        parts = [model(batch) for batch in torch.split(torch.from_numpy(inputs), _REFERENCE_BATCH)]
    result: Array = torch.cat(parts).numpy()
    return result
