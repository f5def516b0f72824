"""TensorRT 8.2 to 11 on an NVIDIA GPU: the engine is built here from ONNX, or taken from the cache of engines.

Without the Python module, but with NVIDIA's program trtexec, the artifact is measured through that (trtexec_model.py).
"""

from typing import Any, Dict, Optional

from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.cuda_memory import CudaRuntime, GpuFacts, load_library
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tensorrt_model import Platform, open_on, platform_release
from edgefleet_agent.runner.trtexec import find_trtexec, read_version
from edgefleet_agent.runner.trtexec_model import open_with_trtexec

try:
    import tensorrt
except ImportError as missing:
    if find_trtexec() is None:
        raise ImportError("no tensorrt ({}), and no trtexec either".format(missing)) from missing
    tensorrt = None


def open_model(request: LoadRequest) -> Model:
    """Load the cached engine of the artifact, or build it first."""
    if tensorrt is None:
        return open_with_trtexec(request, _known_gpu(), platform_release())
    cuda = CudaRuntime(load_library(request.options.get("cudart")))
    return open_on(Platform(tensorrt, cuda, platform_release()), request)


def probe() -> "Dict[str, Any]":
    """Version and GPU, for the agent's inventory; ``driver`` where only trtexec is here."""
    if tensorrt is None:
        return {"version": read_version(str(find_trtexec())), "providers": ["GPU"], "driver": "trtexec"}
    gpu = CudaRuntime(load_library()).gpu_facts()
    return {
        "version": str(tensorrt.__version__),
        "providers": ["GPU", "{} sm_{}".format(gpu.name, gpu.compute_capability.replace(".", ""))],
    }


def _known_gpu() -> "Optional[GpuFacts]":
    """The GPU; None where CUDA's library is not where it can be found, though trtexec has it."""
    try:
        return CudaRuntime(load_library()).gpu_facts()
    except RunnerFailure:
        return None
