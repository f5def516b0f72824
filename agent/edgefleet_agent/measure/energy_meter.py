"""The energy meter of a real board: the sampling process around one timed part."""

import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Callable, Optional, Protocol, Union

import numpy as np

from edgefleet_agent.errors import AgentError
from edgefleet_agent.measure.energy import Span, Take, split_windows
from edgefleet_agent.measure.energy_checks import EnergyPolicy
from edgefleet_agent.measure.energy_summary import summarize_energy
from edgefleet_agent.measure.meter import EnergyMeter, Metered, NoSensor, TimedPart
from edgefleet_agent.measure.power_samples import power_blob
from edgefleet_agent.sampler import SamplerFailed, SamplerProcess, SamplerSettings, choose_core
from edgefleet_agent.sensors.clock import Clock, MonotonicClock
from edgefleet_agent.sensors.drivers import INA_DRIVERS
from edgefleet_agent.sensors.ina import cycle_s
from edgefleet_agent.sensors.ranging import measuring_spec, ranging_spec
from edgefleet_agent.sensors.recording import Recording
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import EnergySummary

_log = logging.getLogger(__name__)

START_S = 2.0
"""Allowance for starting the sampling process and the sensor."""

LEAD_CYCLES = 4
"""Sensor cycles sampled before the first and after the last idle window, so that the lag correction reaches both."""

MAX_WINDOWS = 20

SPARE = 1.1
"""The timed part is asked to be this much longer than the windows: its start may turn out to be warm-up."""

EXPECTED_CYCLES_S = {"hwmon": 0.035, "jetson": 0.0066, "pi5_pmic": 0.1, "power_supply": 1.0}
"""How often the kernel's sensors renew their value, for planning; the recording tells what they really did."""


class Sampling(Protocol):
    """A running sampler, see ``SamplerProcess``."""

    def stop(self) -> Recording:
        """End sampling and return the recording."""
        ...

    def close(self) -> None:
        """End the sampler, whatever it does."""
        ...


StartSampler = Callable[[SensorSpec, SamplerSettings], Sampling]


class SampledEnergyMeter:
    """An ``EnergyMeter`` over the sampling process. Trouble with the sensor never fails a run: it becomes the reason.

    Optional first look: ``look`` while the load warms up, then ``begin`` chooses the range from what was seen; without
    it the widest range is used. ``remarks`` are added to every summary (overhead_high from an overhead test).
    """

    def __init__(
        self,
        spec: SensorSpec,
        *,
        settings: Optional[SamplerSettings] = None,
        policy: Optional[EnergyPolicy] = None,
        start_sampler: StartSampler = SamplerProcess,
        clock: Optional[Clock] = None,
        remarks: tuple[Reason, ...] = (),
    ) -> None:
        self._spec = spec
        self._settings = settings or SamplerSettings()
        self._policy = policy or EnergyPolicy()
        self._start_sampler = start_sampler
        self._clock = clock or MonotonicClock()
        self._remarks = remarks
        self._highest_a: tuple[float, ...] = ()
        self._sampling: Optional[Sampling] = None
        self._recording: Optional[Recording] = None
        self._failure: Optional[Union[SamplerFailed, AgentError]] = None
        self._idle_before: Optional[Span] = None
        self._idle_after: Optional[Span] = None

    @property
    def extra_s(self) -> float:
        """Seconds ``begin`` and ``end`` take together."""
        return 2 * self._policy.idle_s + 2 * self._lead_s() + START_S

    def least_timed_s(self, n_launches: int) -> float:
        """Return the shortest timed part of each launch: five windows in all, as long as the window rule asks."""
        return self._least_windows(n_launches) * self._policy.window_s(self._spacing_s()) * SPARE

    def reserve_core(self, n_threads: int) -> Optional[int]:
        """Choose the sampler's core for a runner of so many threads; the caller keeps the runner's affinity off it.

        Call it before ``look`` and ``begin``. ``None`` where the runner needs all cores: then the sampler floats.
        """
        core = choose_core(frozenset(os.sched_getaffinity(0)), n_threads)
        self._settings = replace(self._settings, core=core)
        return core

    def look(self) -> None:
        """Start the first look; call it when the warm-up begins."""
        self._reset()
        self._start(ranging_spec(self._spec, self._settings.period_s))

    def begin(self) -> None:
        """Start sampling with the best settings known and sit out the idle window before the timed part."""
        if self._sampling is not None and self._idle_before is None:
            self._learn_range()
        else:
            self._reset()
        if self._failure is None:
            self._start(measuring_spec(self._spec, self._settings.period_s, self._highest_a))
        if self._sampling is not None:
            self._wait(self._lead_s())
            self._idle_before = self._idle()

    def end(self) -> None:
        """Sit out the idle window after the timed part and stop; calling it twice does no harm."""
        if self._sampling is None:
            return
        if self._idle_before is not None:
            self._idle_after = self._idle()
            self._wait(self._lead_s())
        try:
            self._recording = self._sampling.stop()
        except AgentError as error:
            self._failure = error
        finally:
            self._close()

    def close(self) -> None:
        """Give up at once, as when the run failed: no idle window, no figure."""
        self._close()

    def collect(self, part: TimedPart) -> Metered:
        """Return what was seen of the last launch."""
        return Metered(part, self._recording, self._idle_before, self._idle_after, self._failure)

    def summarize(self, launches: Sequence[Metered]) -> EnergySummary:
        """Return the energy per inference over all launches; null with a reason where one of them was not metered."""
        failure = next((one.failure for one in launches if one.failure is not None), None)
        if failure is not None:
            return _summary_of_failure(failure, self._spec, launches)
        takes = [self._take(one, len(launches)) for one in launches]
        whole = [take for take in takes if take is not None]
        if len(whole) < len(takes) or not whole:
            return EnergySummary(value_mj=None, scope=self._spec.scope, reason=Reason.WINDOW_INCOMPLETE)
        return summarize_energy(whole, self._policy, self._remarks)

    def blobs(self, launches: Sequence[Metered]) -> dict[str, bytes]:
        """Return the good readings as blob ``power``, see ``power_blob``."""
        return power_blob(launches)

    def _take(self, one: Metered, n_launches: int) -> Optional[Take]:
        if one.recording is None or one.idle_before is None or one.idle_after is None:
            return None
        windows = split_windows(one.part.start_ns, one.part.latency_ns, self._n_windows(one.part, n_launches))
        return Take(one.recording, one.idle_before, one.idle_after, windows)

    def _start(self, spec: SensorSpec) -> None:
        try:
            self._sampling = self._start_sampler(spec, self._settings)
        except AgentError as error:
            _log.warning("no energy for this run: %s", error)
            self._failure = error

    def _learn_range(self) -> None:
        """End the first look and keep the highest current it saw."""
        sampling = self._sampling
        if sampling is None:
            return
        try:
            currents = sampling.stop().current_a
        except AgentError as error:
            self._failure = error
        else:
            finite = np.abs(currents[np.isfinite(currents)])
            self._highest_a = (float(finite.max()),) if len(finite) else ()
        finally:
            self._close()

    def _idle(self) -> Span:
        start_ns = self._clock.now_ns()
        self._wait(self._policy.idle_s)
        return Span(start_ns, max(self._clock.now_ns(), start_ns + 1))

    def _wait(self, seconds: float) -> None:
        self._clock.sleep_until_ns(self._clock.now_ns() + round(seconds * 1e9))

    def _lead_s(self) -> float:
        return LEAD_CYCLES * self._spacing_s()

    def _spacing_s(self) -> float:
        """Return the time between conversions as far as it is known before the sensor runs."""
        if not self._spec.is_ina:
            return max(self._settings.period_s, EXPECTED_CYCLES_S.get(self._spec.kind, 0.0))
        settings = measuring_spec(self._spec, self._settings.period_s, ()).settings
        if settings is None:
            return self._settings.period_s
        facts = INA_DRIVERS[self._spec.kind].facts
        return max(self._settings.period_s, cycle_s(facts, settings, n_channels=len(self._spec.channels)))

    def _least_windows(self, n_launches: int) -> int:
        return math.ceil(self._policy.least_repeats / max(n_launches, 1))

    def _n_windows(self, part: TimedPart, n_launches: int) -> int:
        if len(part.start_ns) == 0:
            return 1
        timed_s = float(part.start_ns[-1] + part.latency_ns[-1] - part.start_ns[0]) * 1e-9
        latency_s = timed_s / len(part.start_ns)
        fitting = int(timed_s / self._policy.window_s(self._spacing_s(), latency_s))
        return min(max(fitting, self._least_windows(n_launches)), MAX_WINDOWS)

    def _reset(self) -> None:
        self._close()
        self._recording = self._failure = self._idle_before = self._idle_after = None
        self._highest_a = ()

    def _close(self) -> None:
        if self._sampling is not None:
            with suppress(AgentError):
                self._sampling.close()
        self._sampling = None


def energy_meter(spec: Optional[SensorSpec]) -> EnergyMeter:
    """Return the meter for a sensor, or the one that says ``no_sensor``."""
    return NoSensor() if spec is None else SampledEnergyMeter(spec)


def reason_of(code: str) -> Reason:
    """Return the reason for a sensor's error code; codes without one of their own are ``not_readable``."""
    return Reason(code) if code in {reason.value for reason in Reason} else Reason.NOT_READABLE


def _summary_of_failure(failure: AgentError, spec: SensorSpec, launches: Sequence[Metered]) -> EnergySummary:
    reason = reason_of(failure.code)
    n_metered = sum(one.failure is None for one in launches)
    detail = {"reasons": [reason.value], "message": str(failure), "code": failure.code, "n_launches": n_metered}
    return EnergySummary(value_mj=None, scope=spec.scope, reason=reason, detail=detail)
