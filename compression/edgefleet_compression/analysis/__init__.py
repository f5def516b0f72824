"""What a network looks like before compression: where its size and work are, what each layer can lose, what to expect."""

from edgefleet_compression.analysis.document import Analysis, Effect, ExpectedSize, LayerAnalysis
from edgefleet_compression.analysis.expected import expect_size
from edgefleet_compression.analysis.onnx_graph import analyze_graph
from edgefleet_compression.analysis.redundancy import Redundancy, measure_redundancy
from edgefleet_compression.analysis.torch_network import SENSITIVITY_SAMPLES, analyze

__all__ = [
    "SENSITIVITY_SAMPLES",
    "Analysis",
    "Effect",
    "ExpectedSize",
    "LayerAnalysis",
    "Redundancy",
    "analyze",
    "analyze_graph",
    "expect_size",
    "measure_redundancy",
]
