"""From takes to the energy summary of a report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from edgefleet_agent.measure.energy import (
    Floats,
    IdleLine,
    PowerSeries,
    Span,
    Take,
    count_distinct,
    energy_between,
    idle_line,
    power_series,
)
from edgefleet_agent.measure.energy_checks import (
    EnergyPolicy,
    find_faults,
    has_drifted,
    longest_gap_s,
    remarks,
)
from edgefleet_agent.measure.energy_uncertainty import (
    Budget,
    launch_means,
    optional_budget,
    repeat_scatter,
    window_uncertainty,
)
from edgefleet_agent.sensors.power_sensor import SensorTraits
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import EnergySummary


@dataclass(frozen=True)
class EnergyEstimate:
    """Energy per inference over all windows, in SI units. Arrays have one entry per window; ``launches``: its launch."""

    gross_j: Floats
    net_j: Floats
    counts: Floats
    durations_s: Floats
    launches: tuple[int, ...]
    idle: tuple[IdleLine, ...]
    budget: Optional[Budget]
    net_expanded_j: Optional[float]

    @property
    def gross_per_inference_j(self) -> float:
        """Mean over the windows of gross energy / inferences."""
        return float(np.mean(self.gross_j / self.counts))

    @property
    def net_per_inference_j(self) -> float:
        """Mean over the windows of energy above idle / inferences; may be negative."""
        return float(np.mean(self.net_j / self.counts))

    @property
    def mean_power_w(self) -> float:
        """Gross energy over time."""
        return float(self.gross_j.sum() / self.durations_s.sum())

    @property
    def idle_power_w(self) -> float:
        """Mean of the idle windows."""
        return float(np.mean([line.mean_w for line in self.idle]))


def estimate_energy(takes: Sequence[Take], series: Sequence[PowerSeries]) -> EnergyEstimate:
    """Return energy per inference with its uncertainty, from one take per launch; see ``find_faults`` first."""
    lines = tuple(idle_line(one, take.idle_before, take.idle_after) for take, one in zip(takes, series))
    gross = np.concatenate(
        [energy_between(one, [window.span for window in take.windows]) for take, one in zip(takes, series)]
    )
    idle = np.array(
        [
            line.energy_j(one.seconds(window.span.start_ns), one.seconds(window.span.end_ns))
            for take, one, line in zip(takes, series, lines)
            for window in take.windows
        ]
    )
    windows = [window for take in takes for window in take.windows]
    counts = np.array([float(window.n_inferences) for window in windows])
    durations = np.array([window.span.duration_s for window in windows])
    launches = tuple(number for number, take in enumerate(takes) for _ in take.windows)
    budget = _gross_budget(takes, series, gross, counts)
    net_scatter, _ = repeat_scatter((gross - idle) / counts, launches)
    net_expanded = _net_expanded(budget, lines, gross, gross - idle, counts, durations, net_scatter)
    return EnergyEstimate(gross, gross - idle, counts, durations, launches, lines, budget, net_expanded)


def summarize_energy(takes: Sequence[Take], policy: EnergyPolicy, extra: Sequence[Reason] = ()) -> EnergySummary:
    """Return the summary of a report: figures, or null with the weightiest reason.

    ``detail.reasons`` has all reasons and remarks; ``detail.rejected`` the figures of a run that may not stand, for a
    person to look at. ``extra`` are remarks from elsewhere, such as overhead_high.
    """
    if not takes:
        return EnergySummary(value_mj=None, reason=Reason.WINDOW_INCOMPLETE)
    series = [power_series(take.recording) for take in takes]
    faults = list(dict.fromkeys(f for take, one in zip(takes, series) for f in find_faults(take, one, policy)))
    traits = takes[0].recording.traits
    sampling = _sampling_detail(takes, series)
    if faults and not _is_computable(takes, series):
        return _null_summary(faults, traits, sampling)
    estimate = estimate_energy(takes, series)
    drifted = [has_drifted(line, one, take, policy) for line, one, take in zip(estimate.idle, series, takes)]
    if any(drifted):
        faults.append(Reason.IDLE_DRIFT)
    notes = [*remarks(takes, series, policy), *_figure_remarks(estimate), *extra]
    detail = {"reasons": [reason.value for reason in (*faults, *notes)], **_figure_detail(estimate), **sampling}
    if faults:
        return _null_summary(faults, traits, {**detail, "rejected": _figures(estimate)})
    return EnergySummary(**_figures(estimate), scope=traits.scope, sensor=sensor_detail(traits), detail=detail)


def sensor_detail(traits: SensorTraits) -> dict[str, Any]:
    """Return what belongs to every figure of this sensor: chip, calibration, settings, provenance."""
    return {
        "chip": traits.chip,
        "provenance": traits.provenance,
        "cycle_s": traits.cycle_s,
        "averaging_s": traits.averaging_s,
        "lag_s": traits.lag_s,
        **traits.detail,
    }


def _null_summary(faults: Sequence[Reason], traits: SensorTraits, detail: dict[str, Any]) -> EnergySummary:
    reasons = detail.get("reasons") or [reason.value for reason in faults]
    return EnergySummary(
        value_mj=None,
        scope=traits.scope,
        sensor=sensor_detail(traits),
        reason=faults[0],
        detail={**detail, "reasons": reasons},
    )


def _is_computable(takes: Sequence[Take], series: Sequence[PowerSeries]) -> bool:
    spans_ok = all(take.windows for take in takes) and all(len(one.t_s) > 1 for one in series)
    if not spans_ok:
        return False
    energies = [
        energy_between(one, [take.idle_before, take.idle_after, *(window.span for window in take.windows)])
        for take, one in zip(takes, series)
    ]
    return bool(np.isfinite(np.concatenate(energies)).all())


def _gross_budget(
    takes: Sequence[Take], series: Sequence[PowerSeries], gross: Floats, counts: Floats
) -> Optional[Budget]:
    pairs = [(take, one, window) for take, one in zip(takes, series) for window in take.windows]
    launches = [number for number, take in enumerate(takes) for _ in take.windows]
    terms = [
        window_uncertainty(one, window, float(energy), take.recording.traits, take.recording.traits.limits)
        if take.recording.traits.limits is not None
        else None
        for (take, one, window), energy in zip(pairs, gross)
    ]
    return optional_budget(terms, gross, counts, launches)


def _net_expanded(
    budget: Optional[Budget],
    lines: Sequence[IdleLine],
    gross: Floats,
    net: Floats,
    counts: Floats,
    durations_s: Floats,
    net_scatter_j: float,
) -> Optional[float]:
    """Return the expanded uncertainty of the net energy per inference.

    The gain error scales with the net energy only and the offset cancels; rounding enters twice (load and idle), and a
    drift may have gone any way between its ends.
    """
    if budget is None:
        return None
    terms = dict(budget.terms_j)
    terms["offset"] = 0.0
    terms["gain"] *= abs(float(net.sum()) / float(gross.sum())) if gross.sum() else 1.0
    terms["quantization"] *= 2**0.5
    per_inference_s = float(np.mean(durations_s / counts))
    terms["idle_drift"] = float(np.sqrt(np.mean([line.drift_w**2 for line in lines]) / 12)) * per_inference_s
    terms["scatter"] = max(terms["scatter"], net_scatter_j)
    return budget.coverage_factor * float(np.sqrt(sum(term**2 for term in terms.values())))


def _figure_remarks(estimate: EnergyEstimate) -> list[Reason]:
    notes = [] if estimate.budget is not None else [Reason.UNCERTAINTY_UNKNOWN]
    return [*notes, Reason.NET_NOT_POSITIVE] if estimate.net_per_inference_j <= 0 else notes


def _figures(estimate: EnergyEstimate) -> dict[str, Any]:
    return {
        "value_mj": estimate.gross_per_inference_j * 1e3,
        "net_mj": estimate.net_per_inference_j * 1e3,
        "expanded_uncertainty_mj": estimate.budget.expanded_j * 1e3 if estimate.budget else None,
        "mean_power_w": estimate.mean_power_w,
        "idle_power_w": estimate.idle_power_w,
    }


def _figure_detail(estimate: EnergyEstimate) -> dict[str, Any]:
    budget = estimate.budget
    return {
        "n_windows": len(estimate.counts),
        "launch_mj": [
            float(mean) * 1e3 for mean in launch_means(estimate.gross_j / estimate.counts, estimate.launches)
        ],
        "window_s": [float(duration) for duration in estimate.durations_s],
        "n_inferences": [int(count) for count in estimate.counts],
        "gross_mj": [float(value) * 1e3 for value in estimate.gross_j / estimate.counts],
        "net_expanded_uncertainty_mj": None if estimate.net_expanded_j is None else estimate.net_expanded_j * 1e3,
        "idle_before_w": [line.before_w for line in estimate.idle],
        "idle_after_w": [line.after_w for line in estimate.idle],
        "coverage_factor": budget.coverage_factor if budget else None,
        "budget_mj": {name: value * 1e3 for name, value in budget.terms_j.items()} if budget else None,
    }


def _sampling_detail(takes: Sequence[Take], series: Sequence[PowerSeries]) -> dict[str, Any]:
    recordings = [take.recording for take in takes]
    gaps = [
        longest_gap_s(one, [window.span for window in take.windows])
        for take, one in zip(takes, series)
        if len(one.t_s) > 1
    ]
    finite = [gap for gap in gaps if np.isfinite(gap)]
    n_distinct = sum(
        count_distinct(one, slice(0, len(one.t_s)), take.recording.traits.cycle_s) for take, one in zip(takes, series)
    )
    return {
        "n_launches": len(takes),
        "requested_period_s": recordings[0].period_s,
        "achieved_ratio": min(recording.achieved_ratio for recording in recordings),
        "n_reads": sum(recording.n_attempts for recording in recordings),
        "n_conversions": n_distinct,
        "longest_gap_s": max(finite) if finite else None,
        "lag_s": series[0].lag_s,
        "supply_v": _supply_levels(takes, series),
    }


def _supply_levels(takes: Sequence[Take], series: Sequence[PowerSeries]) -> Optional[dict[str, float]]:
    """Return the mean voltage of the idle windows and the 1st percentile under load; None where it is not read."""
    pairs = list(zip(takes, series))
    idle_v = _voltages(one.voltage_v[one.inside(span)] for take, one in pairs for span in _idle_spans(take))
    loaded_v = _voltages(one.voltage_v[one.inside(w.span)] for take, one in pairs for w in take.windows)
    if not len(idle_v) or not len(loaded_v):
        return None
    return {"idle": float(idle_v.mean()), "loaded_p1": float(np.percentile(loaded_v, 1))}


def _voltages(parts: Iterable[Floats]) -> Floats:
    joined: Floats = np.concatenate([np.empty(0), *parts])
    return np.asarray(joined[np.isfinite(joined)])


def _idle_spans(take: Take) -> tuple[Span, Span]:
    return take.idle_before, take.idle_after
