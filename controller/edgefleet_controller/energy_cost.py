"""Battery life and yearly cost of a device from measured energy per inference and a duty cycle. Pure; every assumption is a field.

Mean power while active: the energy of the inferences, and idle power in the time between them. Energy per inference is
gross (idle power included while it runs), so that idle power counts only for the rest of the time.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

HOURS_PER_YEAR: Final = 8766.0
"""365.25 days."""


class EnergyCostRefused(Exception):
    """No figure can be given; ``code`` is stable and the message says what is missing or cannot be."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class DutyCycle:
    """What the device does, and what it is fed from. None where a question is not asked.

    sleep_power_w: power outside the active hours; None: idle power. usable_share: of the battery's capacity, which falls
    with age, cold and cut-off voltage. supply_efficiency: of what lies between battery or mains and the sensor's rail.
    """

    inferences_per_hour: float
    active_hours_per_day: float = 24.0
    sleep_power_w: float | None = None
    battery_wh: float | None = None
    usable_share: float = 0.8
    supply_efficiency: float = 0.85
    price_per_kwh: float | None = None
    n_devices: int = 1

    def __post_init__(self) -> None:
        """Refuse what no device could do."""
        if not self.inferences_per_hour > 0 or not 0 < self.active_hours_per_day <= 24:
            raise EnergyCostRefused(
                "duty_cycle_invalid", "give inferences per hour above 0 and active hours per day above 0, at most 24"
            )
        if not 0 < self.usable_share <= 1 or not 0 < self.supply_efficiency <= 1:
            raise EnergyCostRefused("duty_cycle_invalid", "usable share and supply efficiency lie above 0, at most 1")
        negative = [value for value in (self.sleep_power_w, self.price_per_kwh) if value is not None and value < 0]
        if negative or (self.battery_wh is not None and self.battery_wh <= 0) or self.n_devices < 1:
            raise EnergyCostRefused("duty_cycle_invalid", "powers, prices, capacities and counts are not negative")


@dataclass(frozen=True)
class MeasuredEnergy:
    """What was measured of one file on one device. provenance: measured, simulated, ..., carried to the result."""

    energy_mj: float
    uncertainty_mj: float | None
    idle_power_w: float
    latency_ms: float
    provenance: str
    scope: str | None = None


@dataclass(frozen=True)
class EnergyCost:
    """Figures of one device under a duty cycle. Ranges come from the energy's expanded uncertainty alone; None: not known."""

    mean_power_w: float
    mean_power_range_w: tuple[float, float] | None
    busy_share: float
    battery_life_h: float | None
    battery_life_range_h: tuple[float, float] | None
    energy_per_year_kwh: float
    cost_per_year: float | None
    cost_per_year_range: tuple[float, float] | None
    provenance: str
    assumptions: dict[str, Any]


def measured_energy(row: dict[str, Any]) -> MeasuredEnergy:
    """Return the energy of a row of ``GET /v1/results``; EnergyCostRefused ``energy_unknown`` where it is null."""
    energy, latency = row.get("energy") or {}, row.get("latency_ms") or {}
    if energy.get("value_mj") is None:
        reason = energy.get("reason") or "not_measured"
        raise EnergyCostRefused(
            "energy_unknown", f"energy was not measured ({reason}): a battery life without it would be invented"
        )
    if energy.get("idle_power_w") is None or latency.get("p50") is None:
        raise EnergyCostRefused("energy_unknown", "idle power or latency of the run is not known")
    return MeasuredEnergy(
        energy_mj=float(energy["value_mj"]),
        uncertainty_mj=energy.get("expanded_uncertainty_mj"),
        idle_power_w=float(energy["idle_power_w"]),
        latency_ms=float(latency["p50"]),
        provenance=str(row.get("provenance") or "unknown"),
        scope=energy.get("scope"),
    )


def energy_cost(measured: MeasuredEnergy, cycle: DutyCycle) -> EnergyCost:
    """Return battery life and yearly cost; EnergyCostRefused where the device is too slow for the cycle."""
    busy_share = cycle.inferences_per_hour * measured.latency_ms / 3_600_000.0
    if busy_share > 1.0:
        most = 3_600_000.0 / measured.latency_ms
        raise EnergyCostRefused(
            "duty_cycle_impossible",
            f"{cycle.inferences_per_hour:g} inferences an hour take longer than an hour: this file makes {most:,.0f} at most",
        )
    power = _mean_power_w(measured, measured.energy_mj, cycle, busy_share)
    spread = measured.uncertainty_mj
    power_range = (
        None
        if spread is None
        else (
            _mean_power_w(measured, max(0.0, measured.energy_mj - spread), cycle, busy_share),
            _mean_power_w(measured, measured.energy_mj + spread, cycle, busy_share),
        )
    )
    drawn = power / cycle.supply_efficiency
    kwh = drawn * HOURS_PER_YEAR / 1000.0 * cycle.n_devices
    usable_wh = None if cycle.battery_wh is None else cycle.battery_wh * cycle.usable_share * cycle.supply_efficiency
    ends = None if power_range is None else (power_range[0] / power, power_range[1] / power)
    cost = None if cycle.price_per_kwh is None else kwh * cycle.price_per_kwh
    return EnergyCost(
        mean_power_w=power,
        mean_power_range_w=power_range,
        busy_share=busy_share,
        battery_life_h=None if usable_wh is None else usable_wh / power,
        battery_life_range_h=None
        if usable_wh is None or power_range is None
        else (usable_wh / power_range[1], usable_wh / power_range[0]),
        energy_per_year_kwh=kwh,
        cost_per_year=cost,
        cost_per_year_range=None if cost is None or ends is None else (cost * ends[0], cost * ends[1]),
        provenance=measured.provenance,
        assumptions=asdict(cycle)
        | {"idle_power_w": measured.idle_power_w, "latency_ms": measured.latency_ms, "scope": measured.scope},
    )


def _mean_power_w(measured: MeasuredEnergy, energy_mj: float, cycle: DutyCycle, busy_share: float) -> float:
    active = cycle.inferences_per_hour * energy_mj / 3_600_000.0 + (1.0 - busy_share) * measured.idle_power_w
    asleep = measured.idle_power_w if cycle.sleep_power_w is None else cycle.sleep_power_w
    share = cycle.active_hours_per_day / 24.0
    return share * active + (1.0 - share) * asleep
