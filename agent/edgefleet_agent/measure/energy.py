"""Energy of time windows from recorded power: pure maths in SI units.

Stamps are the middle of each bus transaction minus the sensor's lag; power is linear between samples (trapezoid rule,
interpolated at the window's edges). A sensor that counts energy itself is read by difference instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.sensors.power_sensor import FAILED, FRESH, VERIFIED, WAS_RESET
from edgefleet_agent.sensors.recording import Recording

Floats = NDArray[np.float64]

N_BATCHES = 20
"""Parts of a window for the batch-means variance."""

_NO_READING = FAILED | VERIFIED | WAS_RESET


@dataclass(frozen=True)
class Span:
    """A time between two readings of CLOCK_MONOTONIC."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        """Refuse a span that runs backwards."""
        if self.end_ns <= self.start_ns:
            raise ValueError("a span ends after it starts: {} to {} ns".format(self.start_ns, self.end_ns))

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return (self.end_ns - self.start_ns) * 1e-9


@dataclass(frozen=True)
class Window:
    """A span with inferences back to back.

    ``batches``: parts of whole inferences (start_ns, end_ns, count); left out, inferences are taken as equally long.
    """

    span: Span
    n_inferences: int
    batches: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        """Refuse an empty window."""
        if self.n_inferences < 1:
            raise ValueError("a window holds at least one inference")
        if not self.batches:
            object.__setattr__(self, "batches", _even_batches(self.span, self.n_inferences))


@dataclass(frozen=True)
class Take:
    """One recording with an idle window before and after the windows under load."""

    recording: Recording
    idle_before: Span
    idle_after: Span
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class PowerSeries:
    """Good readings of a recording in order of time, in seconds since ``origin_ns``, corrected for the lag.

    ``counted_j`` is the sensor's own energy counter. ``spacing_s``: time between new conversions as read.
    """

    origin_ns: int
    t_s: Floats
    power_w: Floats
    current_a: Floats
    voltage_v: Floats
    counted_j: Optional[Floats]
    spacing_s: float
    lag_s: float

    def seconds(self, t_ns: int) -> float:
        """Return a CLOCK_MONOTONIC reading on this series' axis."""
        return (t_ns - self.origin_ns) * 1e-9

    def inside(self, span: Span) -> slice:
        """Return the indices of the samples inside a span."""
        a, b = self.seconds(span.start_ns), self.seconds(span.end_ns)
        return slice(int(np.searchsorted(self.t_s, a)), int(np.searchsorted(self.t_s, b, side="right")))


def power_series(recording: Recording) -> PowerSeries:
    """Return the good readings; a sensor that only counts energy gets its power from differences."""
    traits = recording.traits
    good = (recording.flags & _NO_READING) == 0
    flags, t_ns = recording.flags[good], recording.t_ns[good]
    origin_ns = int(t_ns[0]) if len(t_ns) else 0
    staleness_s = staleness(recording.period_s, traits.cycle_s, has_flag=bool(np.any(flags & FRESH)))
    lag_s = traits.lag_s + staleness_s
    t_s = (t_ns - origin_ns) * 1e-9 - lag_s
    counted_j = recording.energy_j[good] if traits.counts_energy else None
    power_w = recording.power_w[good]
    if counted_j is not None and len(t_s) > 1 and not np.isfinite(power_w).any():
        power_w = np.gradient(counted_j, t_s)
    return PowerSeries(
        origin_ns=origin_ns,
        t_s=t_s,
        power_w=power_w,
        current_a=recording.current_a[good],
        voltage_v=recording.voltage_v[good],
        counted_j=counted_j,
        spacing_s=max(recording.period_s, traits.cycle_s),
        lag_s=lag_s,
    )


def staleness(period_s: float, cycle_s: float, *, has_flag: bool) -> float:
    """Return the mean age of a result when it is read.

    With a ready flag a result waits for the next read, half a read period on average; read without asking, or more
    slowly than the chip converts, it is anything between new and one cycle old.
    """
    return (min(period_s, cycle_s) if has_flag else cycle_s) / 2


def cumulative_energy(t_s: Floats, power_w: Floats) -> Floats:
    """Return the energy from the first sample to each sample by the trapezoid rule. Shapes (n,) -> (n,)."""
    steps = (power_w[1:] + power_w[:-1]) / 2 * np.diff(t_s)
    return np.concatenate(([0.0], np.cumsum(steps)))


def integrate_power(t_s: Floats, power_w: Floats, a_s: Any, b_s: Any) -> Any:
    """Return the energy from each ``a_s`` to each ``b_s``, with power interpolated at both; NaN outside the samples.

    t_s, power_w: (n,) with n >= 2.
    """
    sums = cumulative_energy(t_s, power_w)
    return _energy_until(t_s, power_w, sums, b_s) - _energy_until(t_s, power_w, sums, a_s)


def energy_between(series: PowerSeries, spans: Sequence[Span]) -> Floats:
    """Return the energy of each span in joules, NaN where the series does not reach."""
    a = np.array([series.seconds(span.start_ns) for span in spans])
    b = np.array([series.seconds(span.end_ns) for span in spans])
    if series.counted_j is not None:
        counted = np.interp(np.stack([a, b]), series.t_s, series.counted_j, left=np.nan, right=np.nan)
        result: Floats = counted[1] - counted[0]
        return result
    energy: Floats = integrate_power(series.t_s, series.power_w, a, b)
    return energy


def batch_energies(series: PowerSeries, window: Window) -> Floats:
    """Return the energy per inference of each batch of a window. Shape (n_batches,).

    Batches hold whole inferences: cut anywhere else, the load's own pattern would look like scatter.
    """
    energies = energy_between(series, [Span(start_ns, end_ns) for start_ns, end_ns, _ in window.batches])
    per_inference: Floats = energies / np.array([float(count) for _, _, count in window.batches])
    return per_inference


def count_distinct(series: PowerSeries, part: slice, cycle_s: float) -> int:
    """Return how many conversions the readings of a part really hold: repeated reads of one result count once.

    A changed value is a new conversion; an unchanged one is new again after every full cycle.
    """
    t_s = series.t_s[part]
    values = series.counted_j[part] if series.counted_j is not None else series.power_w[part]
    if len(t_s) == 0:
        return 0
    starts = np.concatenate(([0], np.flatnonzero(np.diff(values) != 0) + 1))
    ends = np.concatenate((starts[1:] - 1, [len(t_s) - 1]))
    # one part in a million is rounding of the stamps, not time
    repeats = np.floor((t_s[ends] - t_s[starts]) / cycle_s * (1 + 1e-6))
    return int(min(len(starts) + repeats.sum(), len(t_s)))


def split_windows(start_ns: NDArray[np.int64], latency_ns: NDArray[np.int64], n_windows: int) -> tuple[Window, ...]:
    """Cut a series of inferences into consecutive windows at the starts of inferences, as equal in time as it goes.

    start_ns, latency_ns: (n,), back to back. Fewer windows come back where there are fewer inferences.
    """
    if len(start_ns) == 0:
        return ()
    edges_ns = np.append(start_ns, start_ns[-1] + latency_ns[-1])
    cuts = _cuts(edges_ns, n_windows)
    return tuple(
        Window(
            Span(int(edges_ns[first]), int(edges_ns[last])),
            int(last - first),
            _batches(edges_ns[first : last + 1]),
        )
        for first, last in zip(cuts[:-1], cuts[1:])
    )


def _cuts(edges_ns: NDArray[np.int64], n_parts: int) -> NDArray[np.int64]:
    """Return the indices of the edges that cut a series of inferences into parts of about equal time."""
    targets = np.linspace(int(edges_ns[0]), int(edges_ns[-1]), n_parts + 1)[1:-1]
    inner = np.searchsorted(edges_ns, targets)
    return np.unique(np.concatenate(([0], inner, [len(edges_ns) - 1]))).astype(np.int64)


def _batches(edges_ns: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    cuts = _cuts(edges_ns, N_BATCHES)
    return tuple((int(edges_ns[a]), int(edges_ns[b]), int(b - a)) for a, b in zip(cuts[:-1], cuts[1:]))


def _even_batches(span: Span, n_inferences: int) -> tuple[tuple[int, int, int], ...]:
    counts = np.unique(np.round(np.linspace(0, n_inferences, N_BATCHES + 1)).astype(np.int64))
    duration_ns = span.end_ns - span.start_ns
    edges = [span.start_ns + round(duration_ns * int(count) / n_inferences) for count in counts]
    return tuple((edges[i], edges[i + 1], int(counts[i + 1] - counts[i])) for i in range(len(counts) - 1))


@dataclass(frozen=True)
class IdleLine:
    """Idle power as a straight line through the means of the idle windows before (t_b) and after (t_a)."""

    before_s: float
    before_w: float
    after_s: float
    after_w: float

    @property
    def mean_w(self) -> float:
        """Mean of both."""
        return (self.before_w + self.after_w) / 2

    @property
    def drift_w(self) -> float:
        """After minus before."""
        return self.after_w - self.before_w

    def energy_j(self, a_s: float, b_s: float) -> float:
        """Return the idle energy from ``a_s`` to ``b_s``."""
        slope = self.drift_w / (self.after_s - self.before_s)
        middle_s = (a_s + b_s) / 2
        return (self.before_w + slope * (middle_s - self.before_s)) * (b_s - a_s)


def idle_line(series: PowerSeries, before: Span, after: Span) -> IdleLine:
    """Return the idle power around a take."""
    energies = energy_between(series, [before, after])
    return IdleLine(
        before_s=series.seconds((before.start_ns + before.end_ns) // 2),
        before_w=float(energies[0]) / before.duration_s,
        after_s=series.seconds((after.start_ns + after.end_ns) // 2),
        after_w=float(energies[1]) / after.duration_s,
    )


def _energy_until(t_s: Floats, power_w: Floats, sums: Floats, x_s: Any) -> Any:
    x = np.asarray(x_s, dtype=np.float64)
    i = np.clip(np.searchsorted(t_s, x, side="right") - 1, 0, len(t_s) - 2)
    step = t_s[i + 1] - t_s[i]
    part = x - t_s[i]
    slope = np.divide(power_w[i + 1] - power_w[i], step, out=np.zeros_like(part), where=step > 0)
    until = sums[i] + (power_w[i] + slope * part / 2) * part
    return np.where((x < t_s[0]) | (x > t_s[-1]), np.nan, until)
