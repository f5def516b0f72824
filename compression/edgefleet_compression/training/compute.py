"""Where and with which numbers a network is trained: CPU or CUDA, one process or several."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgefleet_compression.errors import RequestInvalid

Arithmetic = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Compute:
    """Device, and the type that forward passes are computed in; weights and optimizer stay float32.

    bfloat16 on a CPU halves the time where the processor multiplies in it (avx512_bf16, AMX), and elsewhere saves nothing.
    Raises RequestInvalid ``mixed_precision_needs_cuda`` (float16 on a CPU), ``cuda_unavailable``.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    arithmetic: Arithmetic = "float32"

    def __post_init__(self) -> None:
        if self.arithmetic == "float16" and self.device != "cuda":
            raise RequestInvalid(
                "float16 is for CUDA: on a CPU it saves no time. Set arithmetic to float32 or bfloat16, or device to cuda.",
                code="mixed_precision_needs_cuda",
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise RequestInvalid(
                "This machine has no CUDA device that torch can use: set device to cpu or auto.",
                code="cuda_unavailable",
            )

    def place(self) -> torch.device:
        """Return the device of this process: with several processes, each has the GPU of its local rank."""
        if self.device == "cpu":
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        dtype = torch.float16 if self.arithmetic == "float16" else torch.bfloat16
        return torch.autocast(self.device, dtype=dtype, enabled=self.arithmetic != "float32")

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps float16 gradients from vanishing; idle for the other types."""
        return torch.amp.GradScaler(self.device, enabled=self.arithmetic == "float16")


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """Return the device; auto: CUDA where there is one."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def join_processes(compute: Compute) -> int:
    """Join the processes that a launcher such as torchrun started (RANK, WORLD_SIZE, ...); return how many there are.

    One without a launcher. Every process must then train with the same spec, data and seed.
    """
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if compute.device == "cuda" else "gloo")
    return world_size()


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them."""
    return dist.get_rank() if world_size() > 1 else 0


def own_part(indices: Tensor) -> Tensor:
    """Return this process's part of a batch."""
    return indices if world_size() == 1 else indices.tensor_split(world_size())[rank()]


def add_up_(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor by its sum over the processes, in place (what DistributedDataParallel does to gradients)."""
    if world_size() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def take_buffers_of_first_(model: nn.Module) -> None:
    """Give every process the buffers (BatchNorm statistics, ranges) of process 0, as DistributedDataParallel does."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)
