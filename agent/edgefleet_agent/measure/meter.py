from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.errors import AgentError
from edgefleet_agent.measure.energy import Span
from edgefleet_agent.sensors.recording import Recording
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import EnergySummary


@dataclass(frozen=True)
class TimedPart:
    """The timed inferences: start and length of each in ns of CLOCK_MONOTONIC, and samples per inference."""

    start_ns: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    batch: int


@dataclass(frozen=True)
class Metered:
    """What a meter saw of one launch; without a recording nothing, for the reason ``failure`` where there is one."""

    part: TimedPart
    recording: Optional[Recording] = None
    idle_before: Optional[Span] = None
    idle_after: Optional[Span] = None
    failure: Optional[AgentError] = None


class EnergyMeter(Protocol):
    """Measures energy around the timed part of each launch. The runner waits, loaded and idle, meanwhile."""

    @property
    def extra_s(self) -> float:
        """Seconds that ``begin`` and ``end`` take together (idle windows); they lengthen the silent window."""
        ...

    def least_timed_s(self, n_launches: int) -> float:
        """Shortest timed part of each of so many launches that can give an energy figure, in seconds."""
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

    def collect(self, part: TimedPart) -> Metered:
        """What was seen of the launch that ended last; the meter may then be used for the next."""
        ...

    def summarize(self, launches: Sequence[Metered]) -> EnergySummary:
        """Energy per inference over the timed parts of all launches, or null with a reason."""
        ...

    def blobs(self, launches: Sequence[Metered]) -> dict[str, bytes]:
        """Raw power samples of all launches by blob name (wire.samples)."""
        ...


class NoSensor:
    """A board without a power sensor: energy is null, never zero and never an estimate."""

    extra_s = 0.0

    def least_timed_s(self, n_launches: int) -> float:  # noqa: ARG002 - the protocol's signature
        """0: nothing needs time."""
        return 0.0

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

    def collect(self, part: TimedPart) -> Metered:
        """The timed part alone."""
        return Metered(part)

    def summarize(self, launches: Sequence[Metered]) -> EnergySummary:  # noqa: ARG002 - the protocol's signature
        """Null, because there is no sensor."""
        return EnergySummary(value_mj=None, reason=Reason.NO_SENSOR)

    def blobs(self, launches: Sequence[Metered]) -> dict[str, bytes]:  # noqa: ARG002 - the protocol's signature
        """Nothing."""
        return {}
