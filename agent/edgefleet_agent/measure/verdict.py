"""How far the figures of a run may be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from edgefleet_agent.statistics import SteadyOutcome
from edgefleet_agent.wire.reasons import Reason, VerdictStatus
from edgefleet_agent.wire.report import Conditions, EnergySummary, Verdict

THROTTLED_NOW_MASK = 0b1111
"""Bits 0-3 of get_throttled: under-voltage, frequency capped, throttled, soft temperature limit (Raspberry Pi docs)."""

THROTTLED_STICKY_MASK = 0b1111 << 16
"""Bits 16-19: the same, since boot."""

HOST_BUSY_CORES = 0.25
"""Other processes may use a quarter of one core on average during the timed part: the agent, its sampler and an idle
controller on the same host stay well below (some 0.05 cores); a compiler or a second model does not. Our choice."""

STEAL_SHARE = 0.02
"""Stolen time over the length of the timed part; as much as two levels of one series may differ (steady state)."""

CORE_WAIT_SHARE = 0.03
"""Time the runner's threads were ready to run but had no core, over the timed part and the thread count (schedstat). It
moves a mean by as much, a median by less; a thread alone on its core waits for less than 1 % (kernel housekeeping)."""

CPU_PRESSURE_SHARE = 0.25
"""Share of the timed part in which some task of the host waited for a core (PSI "some"). The runner's own wait is judged
by CORE_WAIT_SHARE; this one tells of a crowded host and is therefore generous: short-lived helpers of a quiet host add a
few percent, one task too many adds 100 %."""

MEMORY_PRESSURE_SHARE = 0.01
"""Share in which some task waited for memory (PSI "some"): 0 on a host that neither swaps nor reclaims. Our choice."""

MAJOR_FAULT_SHARE = 0.01
"""Major faults per inference. At one in a hundred they reach the 99th percentile."""

VOLTAGE_SAG_SHARE = 0.05
"""Drop of the supply under load against idle. 5 % of 5.1 V reaches 4.85 V; a Raspberry Pi warns at 4.63 V (Raspberry Pi
documentation, under-voltage), USB allows 4.75 V."""

FREQUENCY_CHANGE = 0.05
"""Relative change of the fastest core's frequency between before and after. Our choice: above the steps of
intel_pstate (100 MHz of several GHz), below a throttled Raspberry Pi 4 (1500 to 1000 MHz)."""

TEMPERATURE_HIGH_C = 80.0
"""Raspberry Pi 4 and 5 begin to slow down here (Raspberry Pi documentation, frequency management and thermal control)."""

INVALID = frozenset(
    {
        Reason.THROTTLED_NOW,
        Reason.THROTTLED_STICKY,
        Reason.UNDER_VOLTAGE,
        Reason.NON_FINITE_OUTPUT,
        Reason.PLACEMENT_TOO_LOW,
    }
)
"""Reasons that make the figures unusable; all others make them suspect."""


@dataclass(frozen=True)
class SupplyLevels:
    """Supply voltage from the power sensor: mean of the idle windows, and 1st percentile of the timed part."""

    idle_v: float
    loaded_v: float


@dataclass(frozen=True)
class Evidence:
    """What the verdict on one launch is made of; ``cpu_s`` is the runner's own CPU time during the timed part.

    ``is_placed``: whether as much ran on the accelerator as was asked for.
    ``core_wait_s``: time its threads waited for a core. ``n_cores``: cores it was allowed to use. Unknown is None.
    """

    outcome: SteadyOutcome
    n_non_finite: int
    before: Conditions
    after: Conditions
    cpu_s: float
    n_inferences: int = 1
    major_faults: int = 0
    core_wait_s: Optional[float] = None
    threads: int = 1
    n_cores: Optional[int] = None
    rate_sustained: bool = True
    cooled_down: bool = True
    supply: Optional[SupplyLevels] = None
    is_placed: bool = True


def reach_verdict(*launches: Evidence) -> Verdict:
    """Valid without reasons, else suspect or invalid with all reasons that apply to any launch."""
    reasons = list(dict.fromkeys(reason for launch in launches for reason in _reasons(launch)))
    return Verdict(status=_status(reasons), reasons=reasons)


ENERGY_REMARKS = frozenset({Reason.SAMPLER_STARVED, Reason.OVERHEAD_HIGH})
"""Remarks on an energy figure that touch the run: the sampler had too little of the board, or the run too little of it.
What is wrong with the energy alone (its value is null, or few repeats) leaves the latency valid."""


def judge_energy(energy: EnergySummary) -> Verdict:
    """Suspect where the metering and the run disturbed each other."""
    remarked = energy.detail.get("reasons", [])
    reasons = [reason for reason in Reason if reason in ENERGY_REMARKS and reason.value in remarked]
    return Verdict(status=_status(reasons), reasons=reasons)


def join_verdicts(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on several measurements together: all their reasons, and the worst of their states."""
    reasons = list(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))
    return Verdict(status=_status(reasons), reasons=reasons)


def _reasons(evidence: Evidence) -> list[Reason]:
    before, after = evidence.before, evidence.after
    return [
        *_steadiness(evidence.outcome),
        *_throttling(before, after),
        *_supply(evidence),
        *_frequency(before, after),
        *_neighbours(evidence),
        *_pressure(before, after),
        *_own_trouble(evidence),
        *_temperature(after),
        *([Reason.NOT_COOLED_DOWN] if not evidence.cooled_down else []),
        *([Reason.PLACEMENT_TOO_LOW] if not evidence.is_placed else []),
        *([Reason.NON_FINITE_OUTPUT] if evidence.n_non_finite else []),
    ]


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


def _supply(evidence: Evidence) -> list[Reason]:
    alarms = (evidence.before.under_voltage_alarm, evidence.after.under_voltage_alarm)
    supply = evidence.supply
    sags = supply is not None and supply.loaded_v < (1 - VOLTAGE_SAG_SHARE) * supply.idle_v
    return [*([Reason.UNDER_VOLTAGE] if any(alarms) else []), *([Reason.VOLTAGE_SAG] if sags else [])]


def _pressure(before: Conditions, after: Conditions) -> list[Reason]:
    span_s = _span_s(before, after)
    if span_s <= 0:
        return []
    limits = {
        "cpu": (CPU_PRESSURE_SHARE, Reason.CPU_PRESSURE),
        "memory": (MEMORY_PRESSURE_SHARE, Reason.MEMORY_PRESSURE),
    }
    waits = {name: _difference(before.pressure_s.get(name), after.pressure_s.get(name)) for name in limits}
    return [reason for name, (share, reason) in limits.items() if (waits[name] or 0.0) > share * span_s]


def _own_trouble(evidence: Evidence) -> list[Reason]:
    """What the runner itself met: no core, no memory, too many threads, too high a rate."""
    span_s, wait_s = _span_s(evidence.before, evidence.after), evidence.core_wait_s
    found = {
        Reason.CPU_CONTENTION: wait_s is not None and wait_s > CORE_WAIT_SHARE * span_s * evidence.threads,
        Reason.PAGING: evidence.major_faults > MAJOR_FAULT_SHARE * evidence.n_inferences,
        Reason.OVERSUBSCRIBED: evidence.n_cores is not None and evidence.threads > evidence.n_cores,
        Reason.GOVERNOR_CHANGED: evidence.before.governors != evidence.after.governors,
        Reason.RATE_NOT_SUSTAINED: not evidence.rate_sustained,
    }
    return [reason for reason, is_so in found.items() if is_so]


def _span_s(before: Conditions, after: Conditions) -> float:
    return (after.monotonic_ns - before.monotonic_ns) / 1e9


def _neighbours(evidence: Evidence) -> list[Reason]:
    span_s = _span_s(evidence.before, evidence.after)
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
