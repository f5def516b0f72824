"""How far the figures of a run may be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from edgefleet_agent.statistics import SteadyOutcome
from edgefleet_agent.wire.reasons import Reason, VerdictStatus
from edgefleet_agent.wire.report import Conditions, Verdict

THROTTLED_NOW_MASK = 0b1111
"""Bits 0-3 of get_throttled: under-voltage, frequency capped, throttled, soft temperature limit (Raspberry Pi docs)."""

THROTTLED_STICKY_MASK = 0b1111 << 16
"""Bits 16-19: the same, since boot."""

HOST_BUSY_CORES = 0.25
"""Other processes may use a quarter of one core on average during the timed part: the agent, its sampler and an idle
controller on the same host stay well below; a compiler or a second model does not. Our choice."""

STEAL_SHARE = 0.02
"""Stolen time over the length of the timed part; as much as two levels of one series may differ (steady state)."""

FREQUENCY_CHANGE = 0.05
"""Relative change of the fastest core's frequency between before and after. Our choice: above the steps of
intel_pstate (100 MHz of several GHz), below a throttled Raspberry Pi 4 (1500 to 1000 MHz)."""

TEMPERATURE_HIGH_C = 80.0
"""Raspberry Pi 4 and 5 begin to slow down here (Raspberry Pi documentation, frequency management and thermal control)."""

INVALID = frozenset({Reason.THROTTLED_NOW, Reason.THROTTLED_STICKY, Reason.NON_FINITE_OUTPUT})
"""Reasons that make the figures unusable; all others make them suspect."""


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made of; ``cpu_s`` is the runner's own CPU time during the timed part."""

    outcome: SteadyOutcome
    n_non_finite: int
    before: Conditions
    after: Conditions
    cpu_s: float


def reach_verdict(evidence: Evidence) -> Verdict:
    """Valid without reasons, else suspect or invalid with all reasons that apply."""
    reasons = [
        *_steadiness(evidence.outcome),
        *_throttling(evidence.before, evidence.after),
        *_frequency(evidence.before, evidence.after),
        *_neighbours(evidence),
        *_temperature(evidence.after),
        *([Reason.NON_FINITE_OUTPUT] if evidence.n_non_finite else []),
    ]
    return Verdict(status=_status(reasons), reasons=reasons)


def _status(reasons: Sequence[Reason]) -> VerdictStatus:
    if INVALID.intersection(reasons):
        return VerdictStatus.INVALID
    return VerdictStatus.SUSPECT if reasons else VerdictStatus.VALID


def _steadiness(outcome: SteadyOutcome) -> list[Reason]:
    bad = {SteadyOutcome.SLOWDOWN: Reason.SLOWDOWN, SteadyOutcome.NO_STEADY_STATE: Reason.NO_STEADY_STATE}
    return [bad[outcome]] if outcome in bad else []


def _throttling(before: Conditions, after: Conditions) -> list[Reason]:
    first, last = before.throttled_bits, after.throttled_bits
    if first is None or last is None:
        return []
    now = [Reason.THROTTLED_NOW] if (first | last) & THROTTLED_NOW_MASK else []
    sticky = [Reason.THROTTLED_STICKY] if (first ^ last) & THROTTLED_STICKY_MASK else []
    return now + sticky


def _frequency(before: Conditions, after: Conditions) -> list[Reason]:
    if not before.frequencies_khz or not after.frequencies_khz:
        return []
    first, last = max(before.frequencies_khz), max(after.frequencies_khz)
    changed = abs(last - first) > FREQUENCY_CHANGE * max(first, last)
    return [Reason.FREQUENCY_CHANGED] if changed else []


def _neighbours(evidence: Evidence) -> list[Reason]:
    span_s = (evidence.after.monotonic_ns - evidence.before.monotonic_ns) / 1e9
    busy = _difference(evidence.before.cpu_busy_s, evidence.after.cpu_busy_s)
    steal = _difference(evidence.before.cpu_steal_s, evidence.after.cpu_steal_s)
    if span_s <= 0:
        return []
    others = [Reason.HOST_BUSY] if busy is not None and busy - evidence.cpu_s > HOST_BUSY_CORES * span_s else []
    stolen = [Reason.CPU_STEAL] if steal is not None and steal > STEAL_SHARE * span_s else []
    return others + stolen


def _difference(before: Optional[float], after: Optional[float]) -> Optional[float]:
    return None if before is None or after is None else after - before


def _temperature(after: Conditions) -> list[Reason]:
    hottest = max(after.temperatures_c.values(), default=0.0)
    return [Reason.TEMPERATURE_HIGH] if hottest >= TEMPERATURE_HIGH_C else []
