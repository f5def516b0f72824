"""Does the stated uncertainty hold? Random boards with a known true energy, measured by the real drivers' maths.

Each trial draws a chip, its settings, its hidden errors (anywhere inside the data sheet's limits) and a load with a
closed-form integral; the estimator sees only what the sampler would record.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgefleet_agent.measure.energy import Span, Take, Window
from edgefleet_agent.measure.energy_checks import EnergyPolicy
from edgefleet_agent.measure.energy_summary import summarize_energy
from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.fake.chips import FAKE_CHIPS
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.fake_ina import ChipErrors, FakeIna, Load
from edgefleet_agent.sensors.fake.fast import record_fast
from edgefleet_agent.sensors.fake.waveforms import Burst, Bursts, Constant, Drift, Ramp, Sine, Square, Waveform
from edgefleet_agent.sensors.ina_sensor import InaChip
from edgefleet_agent.sensors.opening import make_ina
from edgefleet_agent.sensors.power_sensor import PowerLimits
from edgefleet_agent.sensors.ranging import choose_gain, choose_settings
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.wire.report import EnergySummary

IDLE_S = 5.0
LEAD_S = 0.5
"""Sampling before the first and after the last idle window."""

PAUSE_S = 0.2
N_WINDOWS = 5
WINDOW_S = 10.0

TABLE_ALIASING = 0.0006
"""Aliasing of a 10 s window for sensible settings (reference section 5.2, largest sd in use at 1 kHz)."""

Rng = np.random.Generator


@dataclass(frozen=True)
class Setup:
    """One chip with its settings and hidden errors. ``resistance_error`` is relative to the calibrated shunt."""

    kind: str
    shunt: ShuntCalibration
    voltage_v: float
    period_s: float
    readiness: str
    errors: ChipErrors
    resistance_error: float
    jitter_s: float


@dataclass(frozen=True)
class Programme:
    """The true power and the windows to measure. ``expected_j``: true mean energy per inference of such a load."""

    waveform: Waveform
    idle_before_s: tuple[float, float]
    idle_after_s: tuple[float, float]
    windows_s: tuple[tuple[float, float], ...]
    counts: tuple[int, ...]
    expected_j: float
    scatter: float
    peak_w: float

    @property
    def duration_s(self) -> float:
        """Length of the whole recording."""
        return self.idle_after_s[1] + LEAD_S

    @property
    def true_j(self) -> float:
        """Mean over the windows of exact energy / inferences."""
        energies = [float(self.waveform.energy_j(np.array(a), np.array(b))) for a, b in self.windows_s]
        return float(np.mean([energy / n for energy, n in zip(energies, self.counts)]))


@dataclass(frozen=True)
class Trial:
    """A summary beside the truth. ``budget_j``: expanded budget from the reference's formulas and true parameters."""

    summary: EnergySummary
    expected_j: float
    true_j: float
    budget_j: float

    @property
    def covers_expected(self) -> bool:
        """Whether the stated interval holds the true mean energy of such a load."""
        return self._error_mj(self.expected_j) <= (self.summary.expanded_uncertainty_mj or 0.0)

    @property
    def covers_true(self) -> bool:
        """Whether the stated interval holds the exact energy of these windows."""
        return self._error_mj(self.true_j) <= (self.summary.expanded_uncertainty_mj or 0.0)

    @property
    def half_width_ratio(self) -> float:
        """Stated expanded uncertainty / budget."""
        return (self.summary.expanded_uncertainty_mj or 0.0) / (self.budget_j * 1e3)

    def _error_mj(self, truth_j: float) -> float:
        if self.summary.value_mj is None:
            raise ValueError("the trial was rejected: {}".format(self.summary.detail.get("reasons")))
        return abs(self.summary.value_mj - truth_j * 1e3)


def run_trial(rng: Rng) -> Trial:
    """Draw and measure one board."""
    programme = draw_programme(rng)
    setup = draw_setup(rng)
    return measure(setup, programme, rng)


def measure(setup: Setup, programme: Programme, rng: Rng) -> Trial:
    """Measure one board."""
    sensor, chip = build(setup, programme.waveform, programme.peak_w)
    recording = record_fast(
        sensor,
        chip,
        start_ns=0,
        period_s=setup.period_s,
        duration_s=programme.duration_s,
        jitter_s=setup.jitter_s,
        rng=rng,
    )
    windows = tuple(Window(_span(*edges), n) for edges, n in zip(programme.windows_s, programme.counts))
    take = Take(recording, _span(*programme.idle_before_s), _span(*programme.idle_after_s), windows)
    # the last inference may end up to one latency before the window's nominal length
    summary = summarize_energy([take], replace(EnergyPolicy(), least_window_s=WINDOW_S * 0.95, max_drift=0.5))
    limits = sensor.traits.limits or PowerLimits()
    budget_j = reference_budget_j(setup, programme, limits, sensor.traits.cycle_s)
    return Trial(summary, programme.expected_j, programme.true_j, budget_j)


def build(setup: Setup, waveform: Waveform, peak_w: float) -> tuple[InaChip, FakeIna]:
    """Return the configured driver and the fake chip behind it."""
    clock: Clock = VirtualClock()
    own_shunt = None if setup.kind == "ina260" else setup.shunt
    spec = SensorSpec(setup.kind, shunt=own_shunt, readiness=setup.readiness)
    chip = FAKE_CHIPS[setup.kind](
        {1: Load(waveform, setup.voltage_v)},
        setup.shunt.resistance_ohm * (1 + setup.resistance_error),
        errors=setup.errors,
    )
    facts = make_ina(spec, FakeBus({}, clock)).facts
    gain = choose_gain(facts, peak_w / setup.voltage_v * setup.shunt.resistance_ohm)
    settings = choose_settings(facts, setup.period_s, gain_code=gain)
    sensor = make_ina(replace(spec, settings=settings), FakeBus({0x40: chip}, clock, transfer_ns=0))
    sensor.configure()
    return sensor, chip


def draw_setup(rng: Rng) -> Setup:
    """Return a random chip whose errors lie inside its limits."""
    kind = str(rng.choice(["ina219", "ina226", "ina260", "ina3221", "ina228"]))
    ohm = {"ina219": 0.1, "ina226": 0.01, "ina260": 0.002, "ina3221": float(rng.choice([0.01, 0.1])), "ina228": 0.015}
    tolerance = 0.0 if kind == "ina260" else float(rng.choice([0.001, 0.005, 0.01]))
    driver_facts = make_ina(
        SensorSpec(kind, shunt=ShuntCalibration(ohm[kind], tolerance)), FakeBus({}, VirtualClock())
    ).facts

    def inside(limit: float) -> float:
        return float(rng.uniform(-limit, limit))

    errors = ChipErrors(
        shunt_gain=inside(driver_facts.shunt_gain_limit),
        shunt_offset_v=inside(driver_facts.shunt_offset_limits_v[0]),
        bus_gain=inside(driver_facts.bus_gain_limit),
        bus_offset_v=inside(driver_facts.bus_offset_limit_v),
        clock=float(rng.uniform(-0.05, 0.1)),
    )
    return Setup(
        kind=kind,
        shunt=ShuntCalibration(ohm[kind], tolerance),
        voltage_v=float(rng.choice([5.0, 5.1, 12.0])),
        period_s=float(rng.choice([0.001, 0.002, 0.005])),
        readiness=str(rng.choice(["flag", "timed"])),
        errors=errors,
        resistance_error=inside(tolerance),
        jitter_s=float(rng.choice([0.0, 20e-6, 100e-6])),
    )


def draw_programme(rng: Rng) -> Programme:
    """Return a random load: idle, five windows of back-to-back inferences with some scatter between them, idle."""
    idle_w, load_w = float(rng.uniform(1.0, 3.5)), float(rng.uniform(0.5, 5.0))
    latency_s = float(np.exp(rng.uniform(np.log(0.0007), np.log(0.3))))
    scatter = float(rng.choice([0.0, 0.0005, 0.003]))
    shape = str(rng.choice(["constant", "square", "sine", "ramp", "drift", "pulses"]))
    duty = float(rng.uniform(0.1, 0.9))
    idle = Drift(idle_w * 0.995, idle_w, 60.0) if rng.random() < 0.3 else Constant(idle_w)
    count = max(int(WINDOW_S / latency_s), 1)
    start_s, bursts, windows = LEAD_S + IDLE_S + PAUSE_S, [], []
    nominal_j = []
    for _ in range(N_WINDOWS):
        end_s = start_s + count * latency_s
        load = _draw_load(rng, shape, load_w, latency_s, duty)
        nominal = float(load.energy_j(np.array(start_s), np.array(end_s)) + idle.energy_j(start_s, end_s))
        nominal_j.append(nominal / count)
        extra_w = scatter * nominal / (end_s - start_s) * float(rng.standard_normal())
        bursts += [Burst(start_s, end_s, load), Burst(start_s, end_s, Constant(extra_w))]
        windows.append((start_s, end_s))
        start_s = end_s + PAUSE_S
    return Programme(
        waveform=Bursts(idle, tuple(bursts)),
        idle_before_s=(LEAD_S, LEAD_S + IDLE_S),
        idle_after_s=(start_s, start_s + IDLE_S),
        windows_s=tuple(windows),
        counts=(count,) * N_WINDOWS,
        expected_j=float(np.mean(nominal_j)),
        scatter=scatter,
        peak_w=(idle_w + 2 * load_w) * 1.05,
    )


def _draw_load(rng: Rng, shape: str, load_w: float, latency_s: float, duty: float) -> Waveform:
    """Return one window's load on top of idle; pulse shapes repeat with every inference, at a random phase."""
    phase_s = float(rng.uniform(0, latency_s))
    loads: dict[str, Waveform] = {
        "constant": Constant(load_w),
        "square": Square(0.3 * load_w, load_w, latency_s, duty=0.6, phase_s=phase_s),
        "sine": Sine(load_w, 0.5 * load_w, 1 / latency_s, phase_rad=float(rng.uniform(0, 6.28))),
        "ramp": Ramp(load_w, 0.002 * load_w),
        "drift": Drift(0.9 * load_w, load_w, 30.0),
        "pulses": Square(0.0, 2 * load_w, latency_s, duty=duty, phase_s=phase_s),
    }
    return loads[shape]


def reference_budget_j(setup: Setup, programme: Programme, limits: PowerLimits, cycle_s: float) -> float:
    """Return U = 2 * sqrt(sum u^2) per inference from the formulas of reference section 5.4 and the true load."""
    window_s = float(np.mean([b - a for a, b in programme.windows_s]))
    count, m = programme.counts[0], len(programme.counts)
    energy_j = programme.expected_j * count
    mean_w = energy_j / window_s
    gain = float(np.sqrt(sum(limit**2 for limit in limits.gains.values())))
    spacing_s = max(setup.period_s, cycle_s)
    varies = not isinstance(programme.waveform, Bursts) or not isinstance(programme.waveform.bursts[0].load, Constant)
    n_effective = window_s / spacing_s if varies else 1.0
    terms = (
        energy_j * gain / 3**0.5,
        setup.voltage_v * limits.offset_a * window_s / 3**0.5,
        setup.voltage_v * limits.lsb_a / 12**0.5 * window_s / n_effective**0.5,
        mean_w * (spacing_s + setup.jitter_s) * (2 / 12) ** 0.5,
        TABLE_ALIASING * energy_j,
        programme.scatter * energy_j / m**0.5,
    )
    return 2 * float(np.sqrt(sum(term**2 for term in terms))) / count


def summarize_trials(trials: list[Trial]) -> dict[str, Any]:
    """Return coverage and median half-width of trials."""
    widths = [trial.half_width_ratio for trial in trials]
    return {
        "n_trials": len(trials),
        "energy_coverage": float(np.mean([trial.covers_expected for trial in trials])),
        "energy_coverage_of_windows": float(np.mean([trial.covers_true for trial in trials])),
        "energy_half_width_ratio": float(np.median(widths)),
        "energy_half_width_ratio_p95": float(np.percentile(widths, 95)),
    }


def bias_10s(n_phases: int, rng: Rng) -> dict[str, float]:
    """Return bias and spread of one 10 s window: INA226 at 1 kHz, 25 ms inferences of 6 W (60 %) and 3 W (reference 5.2)."""
    errors = []
    for _ in range(n_phases):
        start_s = LEAD_S + IDLE_S + float(rng.uniform(0, 0.025))
        load = Burst(start_s, start_s + WINDOW_S, Square(1.0, 4.0, 0.025, duty=0.6, phase_s=start_s))
        waveform = Bursts(Constant(2.0), (load,))
        edges = (start_s, start_s + WINDOW_S)
        programme = Programme(
            waveform,
            (LEAD_S, LEAD_S + IDLE_S),
            (edges[1] + PAUSE_S, edges[1] + PAUSE_S + IDLE_S),
            (edges,),
            (400,),
            float(waveform.energy_j(*(np.array(edge) for edge in edges))) / 400,
            0.0,
            6.0,
        )
        ideal = ChipErrors(clock=float(rng.uniform(-0.05, 0.1)))
        setup = Setup("ina226", ShuntCalibration(0.01), 5.0, 0.001, "timed", ideal, 0.0, 20e-6)
        trial = measure(setup, programme, rng)
        errors.append((trial.summary.value_mj or np.nan) / (trial.true_j * 1e3) - 1)
    return {"energy_bias_10s": float(np.mean(errors)), "energy_sd_10s": float(np.std(errors))}


def _span(start_s: float, end_s: float) -> Span:
    return Span(round(start_s * 1e9), round(end_s * 1e9))
