"""How wrong an energy figure may be: the uncertainty budget, type A from the data and type B from the data sheets.

Terms and formulas follow the GUM (JCGM 100:2008): a limit L of unknown sign is a rectangular distribution with standard
uncertainty L / sqrt(3), independent terms add in squares, the expanded uncertainty covers 95 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from edgefleet_agent.measure.energy import N_BATCHES, Floats, PowerSeries, Window, batch_energies, count_distinct
from edgefleet_agent.sensors.power_sensor import PowerLimits, SensorTraits

COVERAGE_FACTOR = 2.0
"""Expanded uncertainty of about 95 % (JCGM 100:2008 6.3.3)."""

STUDENT_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % points of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2)."""


@dataclass(frozen=True)
class WindowUncertainty:
    """Standard uncertainties of one window's energy, in joules, by term."""

    gain_j: float
    offset_j: float
    quantization_j: float
    edges_j: float
    aliasing_j: float
    within_j: float
    """Type A: scatter of the window's batch means; samples are autocorrelated, so never s / sqrt(n)."""


@dataclass(frozen=True)
class Budget:
    """Standard uncertainties of the energy per inference, in joules, and what follows from them."""

    terms_j: Mapping[str, float]
    degrees_of_freedom: float
    coverage_factor: float

    @property
    def combined_j(self) -> float:
        """Combined standard uncertainty."""
        return float(np.sqrt(sum(term**2 for term in self.terms_j.values())))

    @property
    def expanded_j(self) -> float:
        """Expanded uncertainty, 95 %."""
        return self.coverage_factor * self.combined_j


def student_t_975(degrees_of_freedom: float) -> float:
    """Return the two-sided 95 % factor; degrees of freedom are cut to an integer (JCGM 100:2008 G.4.1)."""
    whole = int(min(max(degrees_of_freedom, 1.0), 1e9))
    if whole <= len(STUDENT_T_975):
        return STUDENT_T_975[whole - 1]
    # Cornish-Fisher to the first order, right to 0.001 beyond 30 degrees of freedom (Abramowitz & Stegun 26.7.5)
    z = 1.959964
    return z + (z**3 + z) / (4 * whole)


def window_uncertainty(
    series: PowerSeries, window: Window, energy_j: float, traits: SensorTraits, limits: PowerLimits
) -> WindowUncertainty:
    """Return the terms of one window."""
    part = series.inside(window.span)
    duration_s, n_distinct = window.span.duration_s, max(count_distinct(series, part, traits.cycle_s), 1)
    mean_w = energy_j / duration_s
    voltage_v, current_a = _mean_level(series, part, mean_w)
    spacing_s = np.diff(series.t_s[part])
    jitter_s = float(spacing_s.std()) if len(spacing_s) else series.spacing_s
    gain = float(np.sqrt(sum(limit**2 for limit in limits.gains.values())))
    offset_w = _root_sum((voltage_v * limits.offset_a, current_a * limits.offset_v, limits.offset_w))
    return WindowUncertainty(
        gain_j=abs(energy_j) * gain / 3**0.5,
        offset_j=offset_w * duration_s / 3**0.5,
        quantization_j=quantization_w(series, part, limits, voltage_v, current_a) * duration_s,
        edges_j=abs(mean_w) * (series.spacing_s + jitter_s) * (2 / 12) ** 0.5,
        aliasing_j=aliasing_w(series, part, traits, n_distinct) * duration_s,
        within_j=batch_scatter(batch_energies(series, window)) * window.n_inferences,
    )


def quantization_w(series: PowerSeries, part: slice, limits: PowerLimits, voltage_v: float, current_a: float) -> float:
    """Return the standard uncertainty of the mean power by rounding to whole LSBs.

    The rounding errors of readings at one code are the same error, so what averages is the number of codes visited,
    not of readings: n_eff = 1 / sum(share of each code squared). A signal that stays within one LSB has n_eff = 1; two
    levels of a pulse train have 2. The bus voltage hardly moves and counts once.
    """
    current_w = voltage_v * limits.lsb_a / (12 * effective_codes(series.current_a[part], limits.lsb_a)) ** 0.5
    direct_w = limits.lsb_w / (12 * effective_codes(series.power_w[part], limits.lsb_w)) ** 0.5
    return _root_sum((current_w, current_a * limits.lsb_v / 12**0.5, direct_w))


def effective_codes(values: Floats, lsb: float) -> float:
    """Return the effective number of codes among readings (1 where nothing is known)."""
    finite = values[np.isfinite(values)]
    if lsb <= 0 or len(finite) == 0:
        return 1.0
    _, counts = np.unique(np.round(finite / lsb), return_counts=True)
    shares = counts / counts.sum()
    return float(1 / np.sum(shares**2))


def aliasing_w(series: PowerSeries, part: slice, traits: SensorTraits, n_distinct: int) -> float:
    """Return the allowance for what happens while the sensor does not look.

    Readings that look for a share f of the time and meet the load at random phases leave s * (1 - f) / sqrt(n). For
    the load of reference section 5.2 this gives 3 % at 10 Hz point samples over 10 s (simulated: 3.6 %) and 0.15 % for
    588/588 us at 1 kHz (simulated: 0.06 %). A sensor that counts energy never looks away.
    """
    if series.counted_j is not None:
        return 0.0
    power_w = series.power_w[part]
    share = min(traits.averaging_s / series.spacing_s, 1.0)
    return float(np.std(power_w)) * (1 - share) / n_distinct**0.5 if len(power_w) else 0.0


def batch_scatter(batches_j: Floats) -> float:
    """Return the standard uncertainty of a mean from its batches.

    The variance comes from successive differences (von Neumann 1941), which a slow drift does not inflate: the drift is
    part of the energy to be measured.
    """
    n = len(batches_j)
    if n < 2:
        return 0.0
    variance = float(np.sum(np.diff(batches_j) ** 2)) / (2 * (n - 1))
    return float((variance / n) ** 0.5)


def make_budget(
    per_window: list[WindowUncertainty], energies_j: Floats, counts: Floats, launches: Sequence[int] = ()
) -> Budget:
    """Return the budget of the mean energy per inference over windows. energies_j, counts: (m,).

    Gain, offset and quantization errors are the same in all windows; edges and aliasing differ. The scatter of the
    repeats contains the scatter within them, and that of process launches (``launches``: the launch of each window) both,
    so the largest of the three stands, not all.
    """
    m = len(per_window)
    same = {name: _mean_term(per_window, counts, name) for name in ("gain_j", "offset_j", "quantization_j")}
    varying = {name: _mean_term(per_window, counts, name) / m**0.5 for name in ("edges_j", "aliasing_j")}
    within = _mean_term(per_window, counts, "within_j") / m**0.5
    repeated = repeat_scatter(energies_j / counts, launches)
    type_a, freedom = repeated if repeated[0] >= within else (within, float(m * (N_BATCHES - 1)))
    terms = {**same, **varying, "scatter_j": type_a}
    effective = effective_freedom(type_a, _root_sum(tuple(terms.values())), freedom)
    factor = max(COVERAGE_FACTOR, student_t_975(effective))
    return Budget({name[:-2]: value for name, value in terms.items()}, effective, factor)


def repeat_scatter(values: Floats, launches: Sequence[int] = ()) -> tuple[float, float]:
    """Return the standard uncertainty of the mean of repeats (m,) and its degrees of freedom.

    Windows of one launch are more alike than those of two (Kalibera and Jones, Rigorous benchmarking in reasonable time,
    ISMM 2013), so the scatter between the means of launches stands where it is the larger one.
    """
    between = _standard_error(launch_means(values, launches))
    among = _standard_error(values)
    return between if between[0] > among[0] else among


def launch_means(values: Floats, launches: Sequence[int]) -> Floats:
    """Return the mean of the values of each launch; empty without launches."""
    numbers = np.asarray(launches, dtype=np.int64)
    return np.array([float(values[numbers == number].mean()) for number in np.unique(numbers)])


def _standard_error(values: Floats) -> tuple[float, float]:
    n = len(values)
    return (float(np.std(values, ddof=1)) / n**0.5, float(n - 1)) if n > 1 else (0.0, 1.0)


def effective_freedom(type_a: float, combined: float, freedom: float) -> float:
    """Return the degrees of freedom of the combined uncertainty (Welch-Satterthwaite, JCGM 100:2008 G.4.1)."""
    if type_a <= 0 or combined <= 0:
        return 1e9
    return min(freedom * (combined / type_a) ** 4, 1e9)


def _mean_term(per_window: list[WindowUncertainty], counts: Floats, name: str) -> float:
    terms = np.array([getattr(window, name) for window in per_window])
    return float(np.sqrt(np.mean((terms / counts) ** 2)))


def _mean_level(series: PowerSeries, part: slice, mean_w: float) -> tuple[float, float]:
    """Return mean voltage and current, where the sensor tells them (else 0: then limits are given in watts)."""
    voltages = series.voltage_v[part]
    if len(voltages) == 0 or not np.isfinite(voltages).all():
        return 0.0, 0.0
    voltage_v = float(voltages.mean())
    return voltage_v, abs(mean_w / voltage_v) if voltage_v else 0.0


def _root_sum(terms: tuple[float, ...]) -> float:
    return float(np.sqrt(sum(term**2 for term in terms)))


def optional_budget(
    per_window: list[Optional[WindowUncertainty]], energies_j: Floats, counts: Floats, launches: Sequence[int] = ()
) -> Optional[Budget]:
    """Return the budget, or ``None`` where the sensor's accuracy is not stated."""
    known = [window for window in per_window if window is not None]
    return make_budget(known, energies_j, counts, launches) if known and len(known) == len(per_window) else None
