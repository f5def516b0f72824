from collections.abc import Sequence

from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.measure.energy_meter import energy_meter
from edgefleet_agent.measure.meter import EnergyMeter
from edgefleet_agent.sensors.clock import MonotonicClock
from edgefleet_agent.sensors.finder import find_kernel_sensors
from edgefleet_agent.sensors.findings import PROBLEM
from edgefleet_agent.sensors.selftest import try_sensor
from edgefleet_agent.sensors.spec import SensorSpec, parse_sensor

REPLAY = "replay"


def configured_sensors(lines: Sequence[str]) -> list[SensorSpec]:
    """The sensors a person named; raises SettingsInvalid with what is wrong.

    Recordings are refused: a report made with one would call them measured.
    """
    try:
        specs = [parse_sensor(line) for line in lines]
    except ValueError as err:
        raise SettingsInvalid("a power sensor is described wrongly: {}".format(err)) from err
    if any(spec.kind == REPLAY for spec in specs):
        raise SettingsInvalid("a recording is no power sensor of this board; remove replay from the sensors")
    return specs


def best_meter(specs: Sequence[SensorSpec]) -> EnergyMeter:
    """The meter over the first of the sensors, or the one that says no_sensor."""
    return energy_meter(specs[0] if specs else None)


def usable_sensors(lines: Sequence[str]) -> list[SensorSpec]:
    """Configured sensors first, then those of the kernel that can really be read (a RAPL counter often needs root).

    A configured sensor is used whatever state it is in, so that the report says what is wrong with it.
    """
    configured = configured_sensors(lines)
    found = [] if configured else find_kernel_sensors()
    return [*configured, *(spec for spec in found if _is_readable(spec))]


def _is_readable(spec: SensorSpec) -> bool:
    return not any(finding.level == PROBLEM for finding in try_sensor(spec, clock=MonotonicClock()))
