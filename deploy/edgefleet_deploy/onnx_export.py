"""From a torch network to an ONNX graph with symbolic batch."""

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from onnx import ModelProto
from torch import nn

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_graph import Array

BATCH_SYMBOL = "N"
OUTPUT_NAME = "output"
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


def export_module(model: nn.Module, *, input_name: str, shape: Sequence[int], opset: int) -> ModelProto:
    """Return the graph of a network in eval mode; input (N, *shape) float32, output named ``output``.

    The TorchScript-based exporter is used on purpose: the newer one cannot write opsets below 18. Raises
    CandidateRefused ``not_exportable`` with the exporter's own reason.
    """
    buffer = io.BytesIO()
    sample = torch.zeros(_TRACE_BATCH, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            torch.onnx.export(
                model.eval(),
                (sample,),
                buffer,  # type: ignore[arg-type] # the TorchScript-based exporter also writes to a stream
                dynamo=False,
                opset_version=opset,
                input_names=[input_name],
                output_names=[OUTPUT_NAME],
                dynamic_axes={input_name: {0: BATCH_SYMBOL}, OUTPUT_NAME: {0: BATCH_SYMBOL}},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as err:
            raise CandidateRefused(
                f"the network cannot be written as ONNX opset {opset}: {str(err).strip().splitlines()[0][:400]}",
                code="not_exportable",
            ) from err
    return onnx.load_from_string(buffer.getvalue())


def run_module(model: nn.Module, inputs: Array) -> Array:
    """Return the network's output (n, ...) for inputs (n, ...) float32, in eval mode."""
    model.eval()
    with torch.no_grad():
        parts = [model(batch) for batch in torch.split(torch.from_numpy(inputs), _REFERENCE_BATCH)]
    result: Array = torch.cat(parts).numpy()
    return result
