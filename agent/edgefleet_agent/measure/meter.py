from dataclasses import dataclass
from typing import Optional, Protocol

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import EnergySummary


@dataclass(frozen=True)
class TimedPart:
    """The timed inferences: start and length of each in ns of CLOCK_MONOTONIC, and samples per inference."""

    start_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    batch: int


class EnergyMeter(Protocol):
    """Measures energy around the timed part of one run. The runner waits, loaded and idle, during both calls."""

    @property
    def extra_s(self) -> float:
        """Seconds that ``begin`` and ``end`` take together (idle windows); they lengthen the silent window."""
        ...

    @property
    def least_timed_s(self) -> float:
        """Shortest timed part that can give an energy figure, in seconds."""
        ...

    def reserve_core(self, n_threads: int) -> Optional[int]:
        """Choose a core for the sampler; None where the runner's threads need all cores.

        The caller keeps the runner off it. Called before ``look`` and ``begin``.
        """
        ...

    def look(self) -> None:
        """Take a first look while the load warms up, to choose the sensor's range."""
        ...

    def begin(self) -> None:
        """Start sampling and sit out the idle window before the timed part."""
        ...

    def end(self) -> None:
        """Sit out the idle window after the timed part and stop sampling."""
        ...

    def close(self) -> None:
        """Give up at once; called at the end of every run, failed or not."""
        ...

    def summarize(self, part: TimedPart) -> EnergySummary:
        """Energy per inference of the timed part, or null with a reason."""
        ...

    def blobs(self) -> dict[str, bytes]:
        """Raw power samples by blob name (wire.samples)."""
        ...


class NoSensor:
    """A board without a power sensor: energy is null, never zero and never an estimate."""

    extra_s = 0.0
    least_timed_s = 0.0

    def reserve_core(self, n_threads: int) -> Optional[int]:  # noqa: ARG002 - the protocol's signature
        """None, because nothing samples."""
        return None

    def look(self) -> None:
        """Nothing to look at."""

    def begin(self) -> None:
        """Nothing to start."""

    def end(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing to close."""

    def summarize(self, part: TimedPart) -> EnergySummary:  # noqa: ARG002 - the protocol's signature
        """Null, because there is no sensor."""
        return EnergySummary(value_mj=None, reason=Reason.NO_SENSOR)

    def blobs(self) -> dict[str, bytes]:
        """Nothing."""
        return {}
