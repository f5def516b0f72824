"""Devices, mixed precision, several processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch

from edgefleet_compression.candidate import TorchCandidate, load_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import RequestInvalid
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Budget, Distill, FakeQuant, Optimizer, StructuredPrune, Train
from edgefleet_compression.tasks import new_candidate
from edgefleet_compression.training.compute import Compute, choose_device

WITHOUT_BATCHNORM = {"hidden": [16]}
SPEC = Train(budget=Budget(steps=4), batch_size=32, optimizer=Optimizer(lr=0.02))

WORKER = """
import sys
from pathlib import Path
import torch
from edgefleet_compression.candidate import save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.passes.application import apply
from edgefleet_compression.tasks import new_candidate
from edgefleet_compression.testing import tiny_data
from edgefleet_compression.training.compute import Compute, join_processes, rank
from edgefleet_compression.passes.specs import Train
torch.set_num_threads(1)
assert join_processes(Compute()) == 2
candidate = new_candidate("mlp", {"hidden": [16]}, tiny_data(), seed=0)
spec = Train.model_validate_json(sys.argv[2])
save_candidate(apply(spec, candidate, Context(tiny_data(), 0)), Path(sys.argv[1]) / f"{rank()}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_float16_on_a_cpu_is_refused() -> None:
    with pytest.raises(RequestInvalid) as caught:
        Compute(arithmetic="float16")
    assert caught.value.code == "mixed_precision_needs_cuda"


def test_bfloat16_on_a_cpu_learns_from_a_teacher_and_leaves_float32_weights(
    candidate: TorchCandidate, data: DataSet
) -> None:
    spec = Train(
        budget=Budget(epochs=6),
        batch_size=32,
        optimizer=Optimizer(lr=0.02),
        ingredients=(Distill(teacher="fixed", alpha=0.1),),
    )
    made = apply(spec, candidate, Context(data, 0, candidate, compute=Compute(arithmetic="bfloat16")))
    assert isinstance(made, TorchCandidate)
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}
    assert made.history[-1].metrics["validation_accuracy"] > 0.9


@pytest.mark.parametrize("method", ["features", "attention"])
def test_bfloat16_compares_activations_of_a_thinner_student_in_float32(
    candidate: TorchCandidate, data: DataSet, method: Literal["features", "attention"]
) -> None:
    compute = Compute(arithmetic="bfloat16")
    thinner = apply(StructuredPrune(amount=0.5), candidate, Context(data, 0, candidate, compute=compute))
    spec = Train(budget=Budget(steps=2), ingredients=(Distill(teacher="fixed", method=method),))
    made = apply(spec, thinner, Context(data, 0, candidate, compute=compute))
    assert isinstance(made, TorchCandidate)
    assert made.history[-1].metrics["validation_accuracy"] > 0


def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(RequestInvalid) as caught:
        Compute(device="cuda")
    assert caught.value.code == "cuda_unavailable"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_two_processes_train_as_one_and_agree_to_the_bit(data: DataSet, tmp_path: Path) -> None:
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", WORKER, str(tmp_path), SPEC.model_dump_json()]
    workers = [subprocess.Popen(command, env={**environment, "RANK": str(number)}) for number in range(2)]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
    files = [(tmp_path / f"{number}.safetensors").read_bytes() for number in range(2)]
    assert files[0] == files[1]
    together = load_candidate(tmp_path / "0.safetensors")
    alone = apply(SPEC, new_candidate("mlp", WITHOUT_BATCHNORM, data, seed=0), Context(data, 0))
    assert isinstance(together, TorchCandidate)
    assert isinstance(alone, TorchCandidate)
    pairs = zip(together.model.state_dict().values(), alone.model.state_dict().values(), strict=True)
    assert all(torch.allclose(first, second, atol=1e-5) for first, second in pairs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("arithmetic", ["float32", "bfloat16", "float16"])
def test_training_on_cuda_learns_and_leaves_a_network_on_the_cpu(
    candidate: TorchCandidate, data: DataSet, arithmetic: str
) -> None:
    spec = Train(budget=Budget(epochs=6), batch_size=32, optimizer=Optimizer(lr=0.02), ingredients=(FakeQuant(),))
    compute = Compute(device="cuda", arithmetic=arithmetic)  # type: ignore[arg-type]
    made = apply(spec, candidate, Context(data, 0, candidate, compute=compute))
    assert isinstance(made, TorchCandidate)
    assert {parameter.device.type for parameter in made.model.parameters()} == {"cpu"}
    assert made.history[-1].metrics["validation_accuracy"] > 0.9
