"""Power over time with a closed-form integral: the oracle of the energy tests, independent of any estimator.

Every waveform offers ``power_w(t_s)`` and ``energy_j(a_s, b_s)`` for numbers and numpy arrays (elementwise).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np


class Waveform(Protocol):
    """Power over time."""

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        ...

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral from each ``a_s`` to each ``b_s``."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same power at all times; may be negative (current flowing back)."""

    level_w: float

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        return np.full_like(np.asarray(t_s, dtype=np.float64), self.level_w)

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        return self.level_w * (np.asarray(b_s, dtype=np.float64) - a_s)


@dataclass(frozen=True)
class Square:
    """``high_w`` for the first ``duty`` of every period, else ``low_w``."""

    low_w: float
    high_w: float
    period_s: float
    duty: float = 0.5
    phase_s: float = 0.0

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        phase = np.mod(np.asarray(t_s, dtype=np.float64) - self.phase_s, self.period_s)
        return np.where(phase < self.duty * self.period_s, self.high_w, self.low_w)

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        return self._until(b_s) - self._until(a_s)

    def _until(self, t_s: Any) -> Any:
        t = np.asarray(t_s, dtype=np.float64) - self.phase_s
        periods = np.floor(t / self.period_s)
        on_s = self.duty * self.period_s
        high_s = periods * on_s + np.minimum(t - periods * self.period_s, on_s)
        return self.low_w * t + (self.high_w - self.low_w) * high_s


@dataclass(frozen=True)
class Ramp:
    """``start_w`` at time zero, rising by ``slope_w_per_s``."""

    start_w: float
    slope_w_per_s: float

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        return self.start_w + self.slope_w_per_s * np.asarray(t_s, dtype=np.float64)

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        a, b = np.asarray(a_s, dtype=np.float64), np.asarray(b_s, dtype=np.float64)
        return (self.start_w + self.slope_w_per_s * (a + b) / 2) * (b - a)


@dataclass(frozen=True)
class Sine:
    """A mean power with a sinusoidal part."""

    mean_w: float
    amplitude_w: float
    frequency_hz: float
    phase_rad: float = 0.0

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        return self.mean_w + self.amplitude_w * np.sin(self._angle(t_s))

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        swing_j = self.amplitude_w / (2 * np.pi * self.frequency_hz)
        level = self.mean_w * (np.asarray(b_s, dtype=np.float64) - a_s)
        return level + swing_j * (np.cos(self._angle(a_s)) - np.cos(self._angle(b_s)))

    def _angle(self, t_s: Any) -> Any:
        return 2 * np.pi * self.frequency_hz * np.asarray(t_s, dtype=np.float64) + self.phase_rad


@dataclass(frozen=True)
class Drift:
    """Exponential approach from ``start_w`` to ``end_w``, as a board warms up."""

    start_w: float
    end_w: float
    tau_s: float

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        return self.end_w + (self.start_w - self.end_w) * np.exp(-np.asarray(t_s, dtype=np.float64) / self.tau_s)

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        a, b = np.asarray(a_s, dtype=np.float64), np.asarray(b_s, dtype=np.float64)
        decay = np.exp(-a / self.tau_s) - np.exp(-b / self.tau_s)
        return self.end_w * (b - a) + (self.start_w - self.end_w) * self.tau_s * decay


@dataclass(frozen=True)
class Piecewise:
    """Straight lines between points, level outside them: a recorded trace, or a programme of loads."""

    t_s: tuple[float, ...]
    p_w: tuple[float, ...]
    _integral_j: tuple[float, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the points and sum the trapezoids once."""
        if len(self.t_s) != len(self.p_w) or len(self.t_s) < 2 or any(np.diff(self.t_s) < 0):
            raise ValueError("a trace needs at least two points, in order of time")
        t, p = np.asarray(self.t_s), np.asarray(self.p_w)
        steps = np.concatenate(([0.0], np.cumsum((p[1:] + p[:-1]) / 2 * np.diff(t))))
        object.__setattr__(self, "_integral_j", tuple(steps.tolist()))

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        return np.interp(t_s, self.t_s, self.p_w)

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        return self._until(b_s) - self._until(a_s)

    def _until(self, t_s: Any) -> Any:
        t = np.asarray(t_s, dtype=np.float64)
        times, powers, sums = np.asarray(self.t_s), np.asarray(self.p_w), np.asarray(self._integral_j)
        i = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
        inside = np.clip(t, times[i], times[i + 1]) - times[i]
        span = times[i + 1] - times[i]
        slope = np.divide(powers[i + 1] - powers[i], span, out=np.zeros_like(span), where=span > 0)
        within = sums[i] + (powers[i] + slope * inside / 2) * inside
        before, after = np.minimum(t - times[0], 0) * powers[0], np.maximum(t - times[-1], 0) * powers[-1]
        return within + before + after


@dataclass(frozen=True)
class Burst:
    """A load from ``start_s`` to ``end_s``; its waveform runs on absolute time, so a pulse train is not restarted."""

    start_s: float
    end_s: float
    load: Waveform


@dataclass(frozen=True)
class Bursts:
    """Idle power at all times with loads on top of it: inference windows on a board."""

    idle: Waveform
    bursts: tuple[Burst, ...]

    def power_w(self, t_s: Any) -> Any:
        """Return the power at each time."""
        t = np.asarray(t_s, dtype=np.float64)
        total = self.idle.power_w(t)
        for burst in self.bursts:
            inside = (t >= burst.start_s) & (t < burst.end_s)
            total = total + np.where(inside, burst.load.power_w(t), 0.0)
        return total

    def energy_j(self, a_s: Any, b_s: Any) -> Any:
        """Return the exact integral."""
        a, b = np.broadcast_arrays(np.asarray(a_s, dtype=np.float64), np.asarray(b_s, dtype=np.float64))
        total = np.array(self.idle.energy_j(a, b))
        for burst in self.bursts:
            meets = (a < burst.end_s) & (b > burst.start_s)
            from_s, until_s = np.maximum(a[meets], burst.start_s), np.minimum(b[meets], burst.end_s)
            total[meets] += burst.load.energy_j(from_s, until_s)
        return total


_SHAPES = {shape.__name__.lower(): shape for shape in (Constant, Square, Ramp, Sine, Drift)}


def waveform_to_json(waveform: Any) -> dict[str, Any]:
    """Return a JSON object that ``waveform_from_json`` turns back, to hand a waveform to the sampling process."""
    if isinstance(waveform, Bursts):
        loads = [[one.start_s, one.end_s, waveform_to_json(one.load)] for one in waveform.bursts]
        return {"shape": "bursts", "idle": waveform_to_json(waveform.idle), "bursts": loads}
    if isinstance(waveform, Piecewise):
        return {"shape": "piecewise", "t_s": list(waveform.t_s), "p_w": list(waveform.p_w)}
    return {"shape": type(waveform).__name__.lower(), **asdict(waveform)}


def waveform_from_json(document: Mapping[str, Any]) -> Waveform:
    """Return the waveform of ``waveform_to_json``; raises ValueError for an unknown shape."""
    fields = dict(document)
    shape = fields.pop("shape", None)
    if shape == "bursts":
        loads = tuple(Burst(start, end, waveform_from_json(load)) for start, end, load in fields["bursts"])
        return Bursts(waveform_from_json(fields["idle"]), loads)
    if shape == "piecewise":
        return Piecewise(tuple(fields["t_s"]), tuple(fields["p_w"]))
    if shape not in _SHAPES:
        raise ValueError("unknown waveform {!r}; known are {}".format(shape, ", ".join(sorted(_SHAPES))))
    return _SHAPES[shape](**fields)
