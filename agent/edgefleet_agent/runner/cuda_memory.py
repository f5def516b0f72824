"""The CUDA runtime through ctypes: memory, streams and what the GPU is. Every return code is checked.

``CudaRuntime`` takes the library as an object, so that tests hand in one that answers like libcudart without a GPU.
Names, argument orders and values are those of the CUDA Runtime API (docs.nvidia.com/cuda/cuda-runtime-api: sections
Device Management, Error Handling, Memory Management, Stream Management; driver_types.h for the numbers).
"""

import ctypes
import glob
from typing import Any, List, NamedTuple, Optional

from edgefleet_agent.runner.failure import RunnerFailure

HOST_TO_DEVICE = 1
DEVICE_TO_HOST = 2
"""cudaMemcpyKind (driver_types.h)."""

HOST_ALLOC_MAPPED = 2
"""cudaHostAllocMapped (driver_types.h)."""

MEMORY_ALLOCATION = 2
"""cudaErrorMemoryAllocation (driver_types.h)."""

INTEGRATED, CAN_MAP_HOST_MEMORY, CAPABILITY_MAJOR, CAPABILITY_MINOR = 18, 19, 75, 76
"""cudaDeviceAttr (driver_types.h)."""

PROPERTIES_BYTES = 8192
NAME_BYTES = 256
"""cudaDeviceProp begins with ``char name[256]`` in every CUDA version; the rest grows, 8 KiB hold all of it."""

LIBRARIES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
PLACES = "/usr/local/cuda*/lib*/libcudart.so*"
"""JetPack and the .deb packages install CUDA there, and not always in the loader's path."""


class GpuFacts(NamedTuple):
    """The GPU an engine is built for. ``integrated``: it shares the memory of the host, as on a Jetson."""

    name: str
    compute_capability: str
    driver_version: int
    runtime_version: int
    integrated: bool
    can_map_host_memory: bool


class DeviceMemory(NamedTuple):
    """``address`` is valid on the GPU; ``host`` too, on the host, where the memory is mapped into both."""

    address: int
    host: "Optional[int]"
    n_bytes: int


def load_library(path: "Optional[str]" = None) -> Any:
    """The CUDA runtime library; raises RunnerFailure(runtime_unavailable) with what was tried."""
    tried: "List[str]" = []
    for name in [path] if path else [*LIBRARIES, *sorted(glob.glob(PLACES), reverse=True)]:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            tried.append(name)
            continue
        library.cudaGetErrorName.restype = ctypes.c_char_p
        library.cudaGetErrorString.restype = ctypes.c_char_p
        return library
    raise RunnerFailure(
        "runtime_unavailable",
        "the CUDA runtime library could not be loaded (tried {}); install CUDA's runtime, or name the library in the "
        "option cudart".format(", ".join(tried)),
    )


class CudaRuntime:
    """Checked calls of one CUDA runtime library, on its first device."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.copy = library.cudaMemcpyAsync

    def check(self, status: int, doing: str) -> None:
        """Raise RunnerFailure unless the status is cudaSuccess: out_of_memory, else accelerator_error."""
        if status == 0:
            return
        name = _text(self._library.cudaGetErrorName(ctypes.c_int(status)))
        text = _text(self._library.cudaGetErrorString(ctypes.c_int(status)))
        detail = {"cuda_error": name, "cuda_status": status, "during": doing}
        if status == MEMORY_ALLOCATION:
            raise RunnerFailure(
                "out_of_memory",
                "the GPU has no memory left ({}, {}); choose a smaller artifact or batch, or end what else uses the "
                "GPU".format(doing, name),
                detail,
            )
        raise RunnerFailure(
            "accelerator_error",
            "CUDA reports {} ({}) in {}; look at the kernel's log (dmesg), and restart the board when it comes "
            "again".format(name, text, doing),
            detail,
        )

    def gpu_facts(self) -> GpuFacts:
        """What the first device is; raises RunnerFailure(runtime_unavailable) where there is none."""
        count = ctypes.c_int(0)
        status = self._library.cudaGetDeviceCount(ctypes.byref(count))
        if status != 0 or count.value == 0:
            reason = "no CUDA device" if status == 0 else _text(self._library.cudaGetErrorName(ctypes.c_int(status)))
            raise RunnerFailure(
                "runtime_unavailable",
                "this computer has no usable GPU ({}); check the driver with nvidia-smi or tegrastats, and that the "
                "user is in the group video".format(reason),
            )
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self.check(self._library.cudaGetDeviceProperties(properties, ctypes.c_int(0)), "cudaGetDeviceProperties")
        return GpuFacts(
            name=properties.raw[:NAME_BYTES].partition(b"\0")[0].decode("utf-8", "replace"),
            compute_capability="{}.{}".format(self._attribute(CAPABILITY_MAJOR), self._attribute(CAPABILITY_MINOR)),
            driver_version=self._version("cudaDriverGetVersion"),
            runtime_version=self._version("cudaRuntimeGetVersion"),
            integrated=bool(self._attribute(INTEGRATED)),
            can_map_host_memory=bool(self._attribute(CAN_MAP_HOST_MEMORY)),
        )

    def create_stream(self) -> int:
        """Handle of a new stream."""
        stream = ctypes.c_void_p()
        self.check(self._library.cudaStreamCreate(ctypes.byref(stream)), "cudaStreamCreate")
        return int(stream.value or 0)

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back; what is still in it ends first."""
        self.check(self._library.cudaStreamDestroy(ctypes.c_void_p(stream)), "cudaStreamDestroy")

    def free_bytes(self) -> int:
        """Memory of the GPU that nothing uses; on a Jetson that is the board's own."""
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        self.check(self._library.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)), "cudaMemGetInfo")
        return free.value

    def synchronize(self, stream: int) -> None:
        """Wait for everything in the stream; errors of kernels come to light here."""
        self.check(self._library.cudaStreamSynchronize(ctypes.c_void_p(stream)), "cudaStreamSynchronize")

    def allocate(self, n_bytes: int) -> DeviceMemory:
        """Memory of the GPU."""
        pointer = ctypes.c_void_p()
        size = ctypes.c_size_t(max(n_bytes, 1))
        self.check(self._library.cudaMalloc(ctypes.byref(pointer), size), "cudaMalloc of {} bytes".format(n_bytes))
        return DeviceMemory(int(pointer.value or 0), None, n_bytes)

    def allocate_mapped(self, n_bytes: int) -> DeviceMemory:
        """Memory of the host that the GPU reaches too: without copies where both share one memory."""
        host, device = ctypes.c_void_p(), ctypes.c_void_p()
        size, flags = ctypes.c_size_t(max(n_bytes, 1)), ctypes.c_uint(HOST_ALLOC_MAPPED)
        status = self._library.cudaHostAlloc(ctypes.byref(host), size, flags)
        self.check(status, "cudaHostAlloc of {} bytes".format(n_bytes))
        status = self._library.cudaHostGetDevicePointer(ctypes.byref(device), host, ctypes.c_uint(0))
        self.check(status, "cudaHostGetDevicePointer")
        return DeviceMemory(int(device.value or 0), int(host.value or 0), n_bytes)

    def free(self, memory: DeviceMemory) -> None:
        """Give memory back."""
        if memory.host is None:
            self.check(self._library.cudaFree(ctypes.c_void_p(memory.address)), "cudaFree")
        else:
            self.check(self._library.cudaFreeHost(ctypes.c_void_p(memory.host)), "cudaFreeHost")

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int(0)
        status = self._library.cudaDeviceGetAttribute(ctypes.byref(value), ctypes.c_int(number), ctypes.c_int(0))
        self.check(status, "cudaDeviceGetAttribute({})".format(number))
        return value.value

    def _version(self, function: str) -> int:
        value = ctypes.c_int(0)
        self.check(getattr(self._library, function)(ctypes.byref(value)), function)
        return value.value


def _text(value: "Optional[bytes]") -> str:
    return "an unknown error" if value is None else value.decode("utf-8", "replace")
