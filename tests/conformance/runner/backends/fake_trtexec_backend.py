"""The runner's TensorRT backend where Python has no module tensorrt, with the program of the option ``trtexec``."""

from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.cuda_memory import GpuFacts
from edgefleet_agent.runner.trtexec_model import open_with_trtexec

GPU = GpuFacts("Fake Orin", "8.7", 12060, 12060, True, True)


def open_model(request: LoadRequest) -> Model:
    return open_with_trtexec(request, GPU, "R36.4.0")
