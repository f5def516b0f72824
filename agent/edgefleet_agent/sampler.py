"""The sampling process: reads the power sensor beside a measurement, never in a thread of the inference.

The parent maps a preallocated ring into both processes. The child ends when the parent asks for it, or when its
standard input closes because the parent died. ``python -m edgefleet_agent.sampler`` is the child.
"""

import gc
import json
import mmap
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Optional

from edgefleet_agent.errors import AgentError
from edgefleet_agent.sensors.clock import MonotonicClock
from edgefleet_agent.sensors.errors import SensorError
from edgefleet_agent.sensors.opening import open_sensor
from edgefleet_agent.sensors.ranging import sensible_period_s
from edgefleet_agent.sensors.recording import Recording, recording_from_ring, traits_from_json, traits_to_json
from edgefleet_agent.sensors.ring import SampleRing, ring_bytes
from edgefleet_agent.sensors.sampling import sample
from edgefleet_agent.sensors.spec import SensorSpec, spec_from_json

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
REALTIME_PRIORITY = 10
EXIT_FAILED = 3
_TIMER_SLACK_OPTION = 29
"""PR_SET_TIMERSLACK of prctl(2): by default the kernel may wake a sleeper 50 us late."""


class SamplerFailed(AgentError):
    """The sampling process could not start or died; ``code`` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class SamplerSettings:
    """How to sample. ``core``: the core reserved for the sampler, or ``None``."""

    period_s: float = 0.005
    longest_s: float = 1200.0
    core: Optional[int] = None

    def __post_init__(self) -> None:
        """Refuse impossible periods."""
        if not 1e-4 <= self.period_s <= 10:
            raise ValueError("the read period is 0.1 ms to 10 s, not {} s".format(self.period_s))
        if self.longest_s < self.period_s:
            raise ValueError("longest_s is at least one period")

    @property
    def capacity(self) -> int:
        """Rows to hold, read-back marks included."""
        return int(self.longest_s / self.period_s) + int(self.longest_s) + 16


def choose_core(allowed: frozenset[int], n_threads: int) -> Optional[int]:
    """Return the core to reserve for the sampler, the last one, or ``None`` where the runtime's threads need all.

    The runner must then be kept off it: on a shared core every sample would interrupt the inference.
    """
    return max(allowed) if len(allowed) > n_threads else None


class SamplerProcess:
    """A running sampler. Use as a context manager: leaving it ends the child, whatever it does."""

    def __init__(self, spec: SensorSpec, settings: SamplerSettings) -> None:
        """Start the child and wait until the sensor runs; raises ``SamplerFailed`` with the sensor's code."""
        size = ring_bytes(settings.capacity)
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self._memory = mmap.mmap(file.fileno(), size)
            self._child = _start_child(spec, settings, file)
        self._ring = SampleRing(memoryview(self._memory), settings.capacity)
        try:
            ready = self._wait_for("ready", START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        self._traits = traits_from_json(ready["traits"])
        self._period_s = float(ready["period_s"])
        self.scheduling = str(ready["scheduling"])
        self.cpu_s: Optional[float] = None
        """CPU seconds the child used, known after ``stop``."""

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def stop(self) -> Recording:
        """End sampling and return everything recorded; raises ``SamplerFailed`` if the child died in between."""
        self._ring.request_stop()
        done = self._wait_for("done", STOP_TIMEOUT_S)
        self.cpu_s = float(done["cpu_s"])
        return recording_from_ring(self._ring, self._traits, self._period_s)

    def close(self) -> None:
        """End the child and free the memory."""
        with suppress(ValueError):
            self._ring.request_stop()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._child.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._ring.release()
        with suppress(BufferError):  # somebody still looks at a column; the map goes with its last view
            self._memory.close()

    def __enter__(self) -> "SamplerProcess":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _wait_for(self, event: str, timeout_s: float) -> dict[str, Any]:
        pipe = self._child.stdout
        if pipe is None:
            raise RuntimeError("the sampler was started without a pipe")
        ready, _, _ = select.select([pipe], [], [], timeout_s)
        line = pipe.readline() if ready else b""
        if not line:
            code = self._child.poll()
            what = "said nothing for {:.0f} s".format(timeout_s) if not ready else "ended with status {}".format(code)
            raise SamplerFailed("sampler_died", "the sampling process {}; the energy of this run is lost".format(what))
        message: dict[str, Any] = json.loads(line)
        if message["event"] != event:
            raise SamplerFailed(str(message["code"]), str(message["message"]))
        return message


def _start_child(spec: SensorSpec, settings: SamplerSettings, file: IO[bytes]) -> "subprocess.Popen[bytes]":
    order = {
        "spec": spec.to_json(),
        "descriptor": file.fileno(),
        "capacity": settings.capacity,
        "period_s": settings.period_s,
        "core": settings.core,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "edgefleet_agent.sampler", json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(file.fileno(),),
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for the parent, who then ends the child in order
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )


# the child ----------------------------------------------------------------------------------------------------------


def run_child(order: dict[str, Any]) -> int:
    """Sample as ordered until the parent asks to stop; returns the exit status."""
    capacity = int(order["capacity"])
    memory = mmap.mmap(int(order["descriptor"]), ring_bytes(capacity))
    ring = SampleRing(memoryview(memory), capacity)
    _end_with_the_parent()
    clock = MonotonicClock()
    spec = spec_from_json(order["spec"])
    try:
        sensor = open_sensor(spec, clock)
        sensor.configure()
    except SensorError as error:
        _say({"event": "failed", "code": error.code, "message": str(error)})
        return EXIT_FAILED
    scheduling = _settle(order["core"])
    gc.collect()
    gc.disable()
    period_s = sensible_period_s(spec, sensor.traits, float(order["period_s"]))
    ready = {"traits": traits_to_json(sensor.traits), "scheduling": scheduling, "period_s": period_s}
    _say({"event": "ready", **ready})
    used_s = time.process_time()
    try:
        sample(sensor, ring, clock, period_ns=round(period_s * 1e9), should_stop=lambda: ring.stop_requested)
    finally:
        sensor.close()
    _say({"event": "done", "cpu_s": time.process_time() - used_s})
    return 0


def _settle(core: Optional[int]) -> str:
    """Move to the reserved core and ask for real-time scheduling; returns which scheduling was granted."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    _wake_on_time()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        return "other"
    return "fifo"


def _wake_on_time() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_TIMER_SLACK_OPTION, 1, 0, 0, 0)


def _end_with_the_parent() -> None:
    """End this process when standard input closes: the parent died. The thread sleeps in read and costs nothing."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 64):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _say(message: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(run_child(json.loads(sys.argv[1])))
