"""Recorded power traces played back through the sensor interface, provenance ``replayed``."""

import csv
import io
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime

from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.errors import ReadingInvalid
from edgefleet_agent.sensors.power_sensor import Reading, SensorTraits


@dataclass(frozen=True)
class Trace:
    """Power at times since the start of the recording."""

    t_s: tuple[float, ...]
    power_w: tuple[float, ...]
    scope: str
    source: str

    def __post_init__(self) -> None:
        """Refuse a trace that cannot be played."""
        if len(self.t_s) != len(self.power_w) or len(self.t_s) < 2:
            raise ReadingInvalid("a trace needs at least two rows", sensor=self.source)
        if any(later < earlier for earlier, later in zip(self.t_s, self.t_s[1:])):
            raise ReadingInvalid("the rows are not in order of time", sensor=self.source)

    @property
    def spacing_s(self) -> float:
        """Median distance between rows."""
        steps = sorted(later - earlier for earlier, later in zip(self.t_s, self.t_s[1:]))
        return steps[len(steps) // 2]


def parse_ptdaemon_log(text: str, *, source: str) -> Trace:
    """Return the trace of a SPEC PTDaemon log as MLPerf submissions publish it (AC wall power).

    Rows: ``Time,08-10-2021 11:35:22.323,Watts,3.932000,Volts,...,Mark,...``.
    """
    instants, powers = [], []
    for row in csv.reader(io.StringIO(text)):
        if len(row) < 4 or row[0] != "Time" or row[2] != "Watts":
            raise ReadingInvalid("expected Time,...,Watts,... and found {!r}".format(",".join(row)[:60]), sensor=source)
        # the log has no zone and none is needed: only differences count
        instants.append(datetime.strptime(row[1], "%m-%d-%Y %H:%M:%S.%f"))  # noqa: DTZ007
        powers.append(float(row[3]))
    if not instants:
        raise ReadingInvalid("the log is empty", sensor=source)
    times = tuple((instant - instants[0]).total_seconds() for instant in instants)
    return Trace(times, tuple(powers), "wall_ac", source)


def parse_power_csv(text: str, *, scope: str, source: str) -> Trace:
    """Return the trace of a CSV whose header names the units: ``t_s`` and ``power_w``, or ``t_s``, ``mV`` and ``mA``.

    A single column of millivolts or milliamperes is refused: it is no power.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = set(rows[0]) if rows else set()
    if {"t_s", "power_w"} <= columns:
        powers = [float(row["power_w"]) for row in rows]
    elif {"t_s", "mV", "mA"} <= columns:
        powers = [float(row["mV"]) * float(row["mA"]) * 1e-6 for row in rows]
    else:
        found = ", ".join(sorted(columns)) or "nothing"
        raise ReadingInvalid("needs t_s with power_w, or with mV and mA; found {}".format(found), sensor=source)
    return Trace(tuple(float(row["t_s"]) for row in rows), tuple(powers), scope, source)


class ReplaySensor:
    """Plays a trace from the moment it is configured; each reading is the newest row. After the end it fails."""

    def __init__(self, trace: Trace, clock: Clock) -> None:
        self._trace = trace
        self._clock = clock
        self._start_ns = clock.now_ns()
        self.traits = SensorTraits(
            chip="replay",
            scope=trace.scope,
            cycle_s=trace.spacing_s,
            averaging_s=trace.spacing_s,
            lag_s=0.0,
            detail={"source": trace.source, "n_rows": len(trace.t_s)},
            provenance="replayed",
        )

    def configure(self) -> None:
        """Start the playback now."""
        self._start_ns = self._clock.now_ns()

    def read(self) -> Reading:
        """Return the newest row; raises ``ReadingInvalid`` after the end of the trace."""
        elapsed_s = (self._clock.now_ns() - self._start_ns) * 1e-9 + self._trace.t_s[0]
        if elapsed_s > self._trace.t_s[-1] + self._trace.spacing_s:
            raise ReadingInvalid("the recorded trace is over", sensor=self._trace.source)
        return Reading(self._trace.power_w[bisect_right(self._trace.t_s, elapsed_s) - 1])

    def verify(self) -> None:
        """Check nothing: a recording loses no settings."""

    def close(self) -> None:
        """Hold nothing."""
