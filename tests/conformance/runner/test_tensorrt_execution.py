"""One execution in this process: what it takes of the GPU and gives back, and what a real libcudart answers."""

import gc
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.runner.backend import LoadRequest, Model
from edgefleet_agent.runner.cuda_memory import CudaRuntime, load_library
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tensorrt_model import Platform, open_on

BACKENDS = Path(__file__).parent / "backends"
PLAN = {"workspace_bytes": 1 << 20, "shapes": {"x": {"min": [1, 4], "opt": [1, 4], "max": [8, 4]}}}
GPU = {"name": "Orin", "capability": "8.7"}


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fake libcudart."""
    monkeypatch.syspath_prepend(BACKENDS)
    return importlib.import_module("fake_cudart").FakeCudart(GPU["name"], GPU["capability"])


@pytest.fixture(params=["8.2.1", "10.3.0"])
def model(request: pytest.FixtureRequest, cuda: Any, onnx_file: Path) -> "list[Model]":
    """The linear model of the suite on a fake TensorRT, in a list so that a test can let go of it."""
    tensorrt = importlib.import_module("fake_tensorrt").make_tensorrt(request.param, cuda, GPU)
    wanted = LoadRequest(str(onnx_file), 1, {"build_plan": PLAN})
    return [open_on(Platform(tensorrt, CudaRuntime(cuda), None), wanted)]


def answer(model: Model, value: float, batch: int = 1) -> Any:
    feed = model.prepare({"x": np.full((batch, 4), value, np.float32)})
    return model.read_outputs(model.invoke(feed))[0]


class TestExecution:
    def test_memory_and_stream_are_given_back(self, model: "list[Model]", cuda: Any) -> None:
        """Input and output for each of three shapes; the model is loaded twice in a run, and small boards can't hold two."""
        for batch in (1, 3, 1):
            answer(model[0], 1.0, batch)
        assert cuda.n_allocations == 6
        model.clear()
        gc.collect()
        assert cuda.n_frees == 6
        assert cuda.n_streams == 0

    def test_outputs_of_one_inference_survive_the_next(self, model: "list[Model]") -> None:
        """x = 1 gives the column sums of the weights -6..5 in rows of three: -6, -2, 2."""
        first = answer(model[0], 1.0)
        answer(model[0], 0.0)
        assert first.tolist() == [[-6.0, -2.0, 2.0]]

    def test_feeds_of_several_shapes_may_take_turns(self, model: "list[Model]") -> None:
        feeds = [model[0].prepare({"x": np.full((n, 4), n, np.float32)}) for n in (2, 5)]
        shapes = [model[0].read_outputs(model[0].invoke(feed))[0].shape for feed in [*feeds, *feeds]]
        assert shapes == [(2, 3), (5, 3), (2, 3), (5, 3)]


def test_real_cuda_library_on_a_computer_without_a_gpu_is_runtime_unavailable(cuda: Any) -> None:
    """Every function that the runner calls is in the library, whatever its version."""
    try:
        library = load_library()
    except RunnerFailure as failure:
        pytest.skip(failure.message)
    names = [name for name in vars(type(cuda)) if name.startswith("cuda")]
    assert len(names) > 10
    assert all(hasattr(library, name) for name in names)
    try:
        facts = CudaRuntime(library).gpu_facts()
    except RunnerFailure as failure:
        code = failure.code
    else:
        pytest.skip("this computer has a GPU ({}): tests/hardware/tensorrt is what to run".format(facts.name))
    assert code == "runtime_unavailable"
