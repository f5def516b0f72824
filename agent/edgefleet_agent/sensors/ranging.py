"""Choosing a chip's gain and averaging: first look at the load, then measure with the best settings."""

from collections.abc import Iterable
from dataclasses import replace

from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.drivers import INA_DRIVERS
from edgefleet_agent.sensors.ina_facts import ChipFacts, InaSettings
from edgefleet_agent.sensors.power_sensor import SensorTraits
from edgefleet_agent.sensors.spec import SensorSpec

HEADROOM = 1.3
"""The range must hold this much more than the highest reading of the first look."""

FASTEST_BUS_CODE = 0
"""On a 5 V rail the voltage hardly moves, so the time goes to the shunt (reference section 2.2)."""

INA219_BUS_CODE = 3
"""INA219's fast conversions have 9 bits, 40 mV per step; its bus is converted with 12 bits."""


def choose_settings(facts: ChipFacts, period_s: float, *, n_channels: int = 1, gain_code: int = 0) -> InaSettings:
    """Return the settings whose slowest cycle still fits the read period and looks at the shunt the longest.

    Where even the fastest cycle is longer than the period, the fastest is returned. The bus is converted quickly.
    """
    bus_code = INA219_BUS_CODE if facts is ina_facts.INA219 else FASTEST_BUS_CODE
    candidates = [
        InaSettings(shunt_code, bus_code, average_code, gain_code)
        for shunt_code in facts.conversion_us
        for average_code in facts.averages
    ]
    fitting = [
        settings
        for settings in candidates
        if ina.cycle_s(facts, settings, n_channels=n_channels) * facts.slow_factor <= period_s
    ]
    if not fitting:
        return min(candidates, key=lambda settings: ina.cycle_s(facts, settings, n_channels=n_channels))
    return max(fitting, key=lambda settings: (ina.looking_s(facts, settings), -facts.averages[settings.average_code]))


def choose_gain(facts: ChipFacts, highest_shunt_v: float) -> int:
    """Return the code of the smallest range that holds the highest shunt voltage seen, with headroom."""
    for code, full_scale_v in enumerate(facts.shunt_full_scale_v):
        if abs(highest_shunt_v) * HEADROOM <= full_scale_v:
            return code
    return len(facts.shunt_full_scale_v) - 1


def sensible_period_s(spec: SensorSpec, traits: SensorTraits, wanted_s: float) -> float:
    """Return how often to read: a kernel sensor not more often than it renews its value (its read may block that long).

    A chip of ours may be asked for its ready flag as often as wanted.
    """
    return wanted_s if spec.is_ina else max(wanted_s, traits.cycle_s)


def ranging_spec(spec: SensorSpec, period_s: float) -> SensorSpec:
    """Return the spec for the first look: widest range, matched to the read period."""
    if not spec.is_ina:
        return spec
    facts = INA_DRIVERS[spec.kind].facts
    widest = len(facts.shunt_full_scale_v) - 1
    n_channels = len(spec.channels)
    return replace(spec, settings=choose_settings(facts, period_s, n_channels=n_channels, gain_code=widest))


def measuring_spec(spec: SensorSpec, period_s: float, currents_a: Iterable[float]) -> SensorSpec:
    """Return the spec for the measurement, with the range chosen from the currents of the first look."""
    if not spec.is_ina:
        return spec
    facts = INA_DRIVERS[spec.kind].facts
    highest_a = max((abs(current_a) for current_a in currents_a), default=None)
    gain = len(facts.shunt_full_scale_v) - 1
    if highest_a is not None and spec.shunt is not None:
        gain = choose_gain(facts, highest_a * spec.shunt.resistance_ohm)
    n_channels = len(spec.channels)
    return replace(spec, settings=choose_settings(facts, period_s, n_channels=n_channels, gain_code=gain))
