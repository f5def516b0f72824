"""A libcudart without a GPU: the functions of the CUDA Runtime API that the runner calls, on the host's memory.

Work put into a stream is done when the stream is synchronized and not before, device addresses are no host addresses, and
a copy beyond an allocation is refused: what the real library punishes shows here too. Names, argument orders and codes:
CUDA Runtime API, docs.nvidia.com/cuda/cuda-runtime-api, and driver_types.h. Runs under Python 3.6.
"""

import ctypes
from typing import Any, Callable  # noqa: UP035 - Python 3.6

SUCCESS, INVALID_VALUE, MEMORY_ALLOCATION, NO_DEVICE, ILLEGAL_ADDRESS = 0, 1, 2, 100, 700
NAMES = {
    INVALID_VALUE: (b"cudaErrorInvalidValue", b"invalid argument"),
    MEMORY_ALLOCATION: (b"cudaErrorMemoryAllocation", b"out of memory"),
    NO_DEVICE: (b"cudaErrorNoDevice", b"no CUDA-capable device is detected"),
    ILLEGAL_ADDRESS: (b"cudaErrorIllegalAddress", b"an illegal memory access was encountered"),
}
INTEGRATED, CAN_MAP_HOST_MEMORY, MAJOR, MINOR = 18, 19, 75, 76
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2
FIRST_ADDRESS = 0x7F0000000000


class FakeCudart:
    """One device. ``fault``: no_device, oom (no allocation succeeds) or illegal_address (every synchronization fails)."""

    def __init__(self, gpu: str, capability: str, integrated: bool = False, fault: "str | None" = None) -> None:
        self._gpu, self._capability, self._integrated, self._fault = gpu, capability, integrated, fault
        self._memory: dict[int, Any] = {}
        self._mapped: dict[int, int] = {}
        self._next = FIRST_ADDRESS
        self._queues: dict[int, list[Callable[[], Any]]] = {}
        self.n_allocations = 0
        self.n_frees = 0

    @property
    def n_streams(self) -> int:
        """Streams that nobody destroyed."""
        return len(self._queues)

    def cudaGetErrorName(self, status: Any) -> bytes:
        return NAMES[status.value][0]

    def cudaGetErrorString(self, status: Any) -> bytes:
        return NAMES[status.value][1]

    def cudaGetDeviceCount(self, count: Any) -> int:
        if self._fault == "no_device":
            return NO_DEVICE
        count._obj.value = 1
        return SUCCESS

    def cudaGetDeviceProperties(self, properties: Any, _device: Any) -> int:
        name = self._gpu.encode() + b"\0"
        ctypes.memmove(properties, name, len(name))
        return SUCCESS

    def cudaDeviceGetAttribute(self, value: Any, attribute: Any, _device: Any) -> int:
        major, minor = (int(part) for part in self._capability.split("."))
        known = {INTEGRATED: int(self._integrated), CAN_MAP_HOST_MEMORY: 1, MAJOR: major, MINOR: minor}
        value._obj.value = known[attribute.value]
        return SUCCESS

    def cudaDriverGetVersion(self, value: Any) -> int:
        value._obj.value = 12060
        return SUCCESS

    def cudaRuntimeGetVersion(self, value: Any) -> int:
        value._obj.value = 12060
        return SUCCESS

    def cudaStreamCreate(self, stream: Any) -> int:
        self._next += 1
        handle = self._next
        stream._obj.value = handle
        self._queues[handle] = []
        return SUCCESS

    def cudaStreamDestroy(self, stream: Any) -> int:
        return INVALID_VALUE if self._queues.pop(stream.value, None) is None else SUCCESS

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        total._obj.value = 8 << 30
        free._obj.value = (8 << 30) - sum(len(buffer) for buffer in self._memory.values())
        return SUCCESS

    def cudaStreamSynchronize(self, stream: Any) -> int:
        if self._fault == "illegal_address":
            return ILLEGAL_ADDRESS
        queue, self._queues[stream.value] = self._queues[stream.value], []
        for work in queue:
            work()
        return SUCCESS

    def cudaMalloc(self, pointer: Any, size: Any) -> int:
        if self._fault == "oom":
            return MEMORY_ALLOCATION
        pointer._obj.value = self._place(ctypes.create_string_buffer(size.value))
        return SUCCESS

    def cudaHostAlloc(self, pointer: Any, size: Any, _flags: Any) -> int:
        buffer = ctypes.create_string_buffer(size.value)
        host = ctypes.addressof(buffer)
        self._mapped[host] = self._place(buffer)
        pointer._obj.value = host
        return SUCCESS

    def cudaHostGetDevicePointer(self, pointer: Any, host: Any, _flags: Any) -> int:
        pointer._obj.value = self._mapped[host.value]
        return SUCCESS

    def cudaFree(self, pointer: Any) -> int:
        self.n_frees += 1
        return INVALID_VALUE if self._memory.pop(pointer.value, None) is None else SUCCESS

    def cudaFreeHost(self, pointer: Any) -> int:
        self.n_frees += 1
        return INVALID_VALUE if self._memory.pop(self._mapped.pop(pointer.value), None) is None else SUCCESS

    def cudaMemcpyAsync(self, target: Any, source: Any, size: Any, kind: Any, stream: Any) -> int:
        device = target.value if kind.value == HOST_TO_DEVICE else source.value
        if device not in self._memory or size.value > len(self._memory[device]):
            return INVALID_VALUE
        inside = ctypes.addressof(self._memory[device])
        ends = (inside, source.value) if kind.value == HOST_TO_DEVICE else (target.value, inside)
        self.enqueue(stream.value, lambda: ctypes.memmove(ends[0], ends[1], size.value))
        return SUCCESS

    def enqueue(self, stream: int, work: "Callable[[], Any]") -> None:
        """Do the work at the stream's next synchronization."""
        self._queues[stream].append(work)

    def read(self, address: int, n_bytes: int) -> bytes:
        """Device memory, as a kernel reads it."""
        return bytes(self._memory[address].raw[:n_bytes])

    def write(self, address: int, content: bytes) -> None:
        """Device memory, as a kernel writes it."""
        if len(content) > len(self._memory[address]):
            raise ValueError("a kernel wrote beyond its allocation")
        ctypes.memmove(self._memory[address], content, len(content))

    def _place(self, buffer: Any) -> int:
        self.n_allocations += 1
        self._next += 1 << 20
        self._memory[self._next] = buffer
        return self._next
