"""When an energy figure may not stand, and what to remark on one that may."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgefleet_agent.measure.energy import IdleLine, PowerSeries, Span, Take, energy_between
from edgefleet_agent.sensors.power_sensor import FAILED, OVERFLOW, SATURATED, TIMED_OUT, VERIFIED, WAS_RESET
from edgefleet_agent.sensors.recording import Recording
from edgefleet_agent.wire.reasons import Reason

MAX_SUSPENDED_NS = 1_000_000
"""More sleep of the whole host than this in a recording: the clock jumped over part of the load."""

MIN_READINGS_TO_CALL_STUCK = 100

N_IDLE_BATCHES = 10


@dataclass(frozen=True)
class EnergyPolicy:
    """The rules of the energy protocol (reference sections 5.3, 6.3 and 10)."""

    least_window_s: float = 10.0
    least_inferences: int = 10
    least_cycles: float = 100.0
    least_edges: float = 1000.0
    least_repeats: int = 5
    idle_s: float = 5.0
    max_drift: float = 0.03
    drift_sigmas: float = 5.0
    drift_floor: float = 0.01
    max_gap_periods: float = 5.0
    max_lost: float = 0.001
    least_achieved: float = 0.95

    def window_s(self, spacing_s: float, latency_s: float = 0.0) -> float:
        """Return the shortest allowed window: 10 s, 10 inferences, 100 sensor cycles, an edge error of 0.1 %."""
        return max(
            self.least_window_s,
            self.least_inferences * latency_s,
            max(self.least_cycles, self.least_edges) * spacing_s,
        )


def find_faults(take: Take, series: PowerSeries, policy: EnergyPolicy) -> list[Reason]:
    """Return why the take's energy may not stand, the weightiest reason first; empty when it may."""
    recording = take.recording
    spans = [take.idle_before, *(window.span for window in take.windows), take.idle_after]
    if len(series.t_s) < 2:
        return [_why_nothing(recording)]
    checks = (
        (Reason.CLOCK_JUMP, _clock_jumped(recording)),
        (Reason.SENSOR_RESET, _was_reset(recording, spans)),
        (Reason.SENSOR_SATURATED, any(_has_flag(recording, span, SATURATED | OVERFLOW) for span in spans)),
        (Reason.SENSOR_STUCK, _is_stuck(take, series)),
        (_kind_of_loss(recording), _lost_share(recording) > policy.max_lost),
        (Reason.SENSOR_GAP, any(_longest_gap_s(series, span) > _max_gap_s(series, policy) for span in spans)),
        (Reason.WINDOW_INCOMPLETE, not take.windows),
        (Reason.WINDOW_TOO_SHORT, any(_too_short(take, series, policy))),
    )
    return [reason for reason, applies in checks if applies]


def has_drifted(line: IdleLine, series: PowerSeries, take: Take, policy: EnergyPolicy) -> bool:
    """Return whether idle power moved between before and after.

    More than 3 % always counts. Less counts when it stands out of the wandering of idle power itself (batches of the
    idle windows), but never below 1 %: a quiet sensor shows differences that do not matter.
    """
    drift_w, level_w = abs(line.drift_w), abs(line.mean_w)
    if drift_w > policy.max_drift * level_w:
        return True
    wander_w = _idle_wander_w(series, (take.idle_before, take.idle_after))
    return drift_w > max(policy.drift_sigmas * wander_w, policy.drift_floor * level_w)


def remarks(takes: Sequence[Take], series: Sequence[PowerSeries], policy: EnergyPolicy) -> list[Reason]:
    """Return what to say of a figure that stands."""
    windows = [window for take in takes for window in take.windows]
    latency_s = min((window.span.duration_s / window.n_inferences for window in windows), default=0.0)
    notes = (
        (Reason.SAMPLER_STARVED, any(take.recording.achieved_ratio < policy.least_achieved for take in takes)),
        (Reason.TOO_FEW_REPEATS, len(windows) < policy.least_repeats),
        (Reason.SHORTER_THAN_SAMPLE_PERIOD, any(latency_s < one.spacing_s for one in series)),
    )
    return [reason for reason, applies in notes if applies]


def longest_gap_s(series: PowerSeries, spans: Sequence[Span]) -> float:
    """Return the longest time without a good reading inside the spans."""
    return max((_longest_gap_s(series, span) for span in spans), default=0.0)


def _why_nothing(recording: Recording) -> Reason:
    failed = (recording.flags & FAILED) != 0
    if not failed.any():
        return Reason.TOO_FEW_SAMPLES
    timed_out = (recording.flags & TIMED_OUT) != 0
    return Reason.BUS_TIMEOUT if timed_out.sum() * 2 > failed.sum() else Reason.SENSOR_MISSING


def _kind_of_loss(recording: Recording) -> Reason:
    timed_out = int(((recording.flags & TIMED_OUT) != 0).sum())
    failed = int(((recording.flags & FAILED) != 0).sum())
    return Reason.BUS_TIMEOUT if timed_out * 2 > failed else Reason.SENSOR_LOSS


def _lost_share(recording: Recording) -> float:
    failed = int(((recording.flags & FAILED) != 0).sum())
    return failed / max(recording.n_attempts, 1)


def _clock_jumped(recording: Recording) -> bool:
    return recording.suspended_ns > MAX_SUSPENDED_NS or bool(np.any(np.diff(recording.t_ns) < 0))


def _was_reset(recording: Recording, spans: Sequence[Span]) -> bool:
    """Return whether a span reaches past the last good read-back before a reset was found."""
    resets = np.flatnonzero(recording.flags & WAS_RESET)
    if len(resets) == 0:
        return False
    good = np.flatnonzero(recording.flags[: resets[0]] & VERIFIED)
    sure_until_ns = int(recording.t_ns[good[-1]]) if len(good) else int(recording.t_ns[0])
    return any(span.end_ns > sure_until_ns for span in spans)


def _has_flag(recording: Recording, span: Span, flag: int) -> bool:
    inside = (recording.t_ns >= span.start_ns) & (recording.t_ns <= span.end_ns)
    return bool(np.any(recording.flags[inside] & flag))


def _is_stuck(take: Take, series: PowerSeries) -> bool:
    """Return whether all readings are one value: idle and load never give the same code all the time."""
    part = series.inside(Span(take.idle_before.start_ns, take.idle_after.end_ns))
    values = (series.counted_j if series.counted_j is not None else series.power_w)[part]
    return len(values) >= MIN_READINGS_TO_CALL_STUCK and bool(np.all(values == values[0]))


def _max_gap_s(series: PowerSeries, policy: EnergyPolicy) -> float:
    return policy.max_gap_periods * series.spacing_s


def _longest_gap_s(series: PowerSeries, span: Span) -> float:
    """Return the longest distance between samples in a span, its edges included."""
    a, b = series.seconds(span.start_ns), series.seconds(span.end_ns)
    part = series.inside(span)
    first = max(part.start - 1, 0)
    times = series.t_s[first : part.stop + 1]
    if len(times) < 2 or times[0] > a or times[-1] < b:
        return float("inf")
    return float(np.diff(times).max())


def _too_short(take: Take, series: PowerSeries, policy: EnergyPolicy) -> Iterator[bool]:
    for window in take.windows:
        latency_s = window.span.duration_s / window.n_inferences
        needed_s = policy.window_s(series.spacing_s, latency_s)
        # a window ends with an inference, up to one of them early
        yield window.span.duration_s + min(latency_s, 0.01 * needed_s) < needed_s
        yield window.n_inferences < policy.least_inferences


def _idle_wander_w(series: PowerSeries, spans: Sequence[Span]) -> float:
    """Return the standard deviation of idle power between parts of the idle windows."""
    variances = []
    for span in spans:
        edges = np.linspace(span.start_ns, span.end_ns, N_IDLE_BATCHES + 1).astype(np.int64)
        parts = [Span(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:])]
        powers_w = energy_between(series, parts) / (span.duration_s / N_IDLE_BATCHES)
        variances.append(float(np.var(powers_w, ddof=1)))
    return float(np.sqrt(np.mean(variances)))
