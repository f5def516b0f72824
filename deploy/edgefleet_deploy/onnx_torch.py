"""From a torch candidate to a finished ONNX graph."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from edgefleet_compression.candidate import TorchCandidate, float_network
from edgefleet_compression.precision import Precision
from edgefleet_compression.quantization.modules import channel_bits, quantized_layers
from edgefleet_deploy.compiler import CompileContext
from edgefleet_deploy.onnx_export import (
    OUTPUT_NAME,
    TRACED_OLDEST_OPSET,
    export_scripted,
    export_traced,
    refuse_non_finite,
    run_module,
)
from edgefleet_deploy.onnx_formats import convert_format
from edgefleet_deploy.onnx_narrow_activations import with_wide_activations
from edgefleet_deploy.onnx_optimization import optimize_graph
from edgefleet_deploy.onnx_session import OnnxSession
from edgefleet_deploy.onnx_summary import count_by_type, summarize
from edgefleet_deploy.onnx_weights import Grid
from edgefleet_deploy.onnx_written import CONVERTED_GRAPH, Written, serialize
from edgefleet_deploy.samples import Samples, parity_samples

Array = NDArray[Any]

SIMULATED = "torch with simulated quantization"


def export_network(candidate: TorchCandidate, opset: int) -> ModelProto:
    """Return the candidate's graph as exported: fake-quant by the exporter that takes it, float by the newest."""
    refuse_non_finite(candidate.model)
    if candidate.traits.precision == "int8":
        return export_scripted(candidate.model, candidate.structure.input, opset=opset)
    if candidate.traits.precision == "int4":
        return export_scripted(with_wide_activations(candidate), candidate.structure.input, opset=opset)
    network = float_network(candidate)
    if opset < TRACED_OLDEST_OPSET:
        return export_scripted(network, candidate.structure.input, opset=opset)
    return export_traced(network, candidate.structure.input, opset=opset)


def weight_grids(candidate: TorchCandidate) -> tuple[Grid, ...]:
    """Return the weights of the network that are rounded already, with their scales."""
    return tuple(
        Grid(layer.weight.detach().numpy(), layer.weight_scale.detach().numpy(), channel_bits(layer).numpy())
        for layer in quantized_layers(candidate.model).values()
    )


def write_torch(candidate: TorchCandidate, context: CompileContext) -> Written:
    """Return the optimized graph in the candidate's format, with the network's own outputs to compare with."""
    return write_torch_as(candidate, candidate.traits.precision, context)


def write_torch_as(candidate: TorchCandidate, precision: Precision, context: CompileContext) -> Written:
    """Return the graph stored in this format, whatever the candidate asks for."""
    model = export_network(candidate, context.target.opset)
    before = count_by_type(model)
    optimize_graph(model, ir_version=context.target.ir_version)
    session = OnnxSession(serialize(model), threads=context.threads)
    n_values = candidate.structure.input.n_values or 2
    samples = parity_samples(context.data, session.inputs, context.seed, n_values=n_values)
    outputs = network_outputs(candidate, samples)
    model = convert_format(model, precision, context.work_dir, weight_grids(candidate))
    graph = summarize(before, model, candidate.model)
    if precision == "fp32":
        return Written(model, precision, outputs, "torch", samples, graph=graph)
    if precision in ("int8", "int4"):
        return Written(model, precision, outputs, SIMULATED, samples, float_outputs(candidate, samples), graph)
    if precision == "fp16":
        return Written(model, precision, outputs, "torch", samples, outputs, graph)
    converted = OnnxSession(serialize(model), threads=context.threads, optimize=False).run(samples.inputs)
    return Written(model, precision, converted, CONVERTED_GRAPH, samples, outputs, graph)


def network_outputs(candidate: TorchCandidate, samples: Samples) -> Mapping[str, Array]:
    """Return the torch network's outputs on the samples, under the file's output name."""
    inputs = samples.inputs[candidate.structure.input.name]
    return {OUTPUT_NAME: run_module(candidate.model, inputs)}


def float_outputs(candidate: TorchCandidate, samples: Samples) -> Mapping[str, Array]:
    """Return the same network's outputs without its fake-quant modules."""
    inputs = samples.inputs[candidate.structure.input.name]
    return {OUTPUT_NAME: run_module(float_network(candidate), inputs)}
