"""The runner's TensorRT backend on a fake TensorRT of a given version; the option ``fake`` says which, and its faults.

It runs inside the runner child under any Python from 3.6 on.
"""

from fake_cudart import FakeCudart  # type: ignore[import-not-found]
from fake_tensorrt import make_tensorrt  # type: ignore[import-not-found]

from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.cuda_memory import CudaRuntime
from edgefleet_agent.runner.tensorrt_model import Platform, open_on


def open_model(request: LoadRequest) -> Model:
    fake = request.options["fake"]
    gpu = {"name": fake.get("gpu", "Fake Orin"), "capability": fake.get("capability", "8.7")}
    cuda = FakeCudart(gpu["name"], gpu["capability"], integrated=True, fault=fake.get("cuda_fault"))
    module = make_tensorrt(fake["version"], cuda, gpu, fake.get("fault"))
    return open_on(Platform(module, CudaRuntime(cuda), fake.get("release")), request)
