"""From a sensor's description to the open sensor, in the process that reads it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgefleet_agent.sensors.bus import I2CBus, chip_place
from edgefleet_agent.sensors.claim import ChipClaim
from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.drivers import INA_DRIVERS
from edgefleet_agent.sensors.hwmon import open_hwmon
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness, Wiring
from edgefleet_agent.sensors.jetson import open_jetson
from edgefleet_agent.sensors.pi5_pmic import Pi5Pmic
from edgefleet_agent.sensors.power_sensor import PowerSensor
from edgefleet_agent.sensors.power_supply import Battery
from edgefleet_agent.sensors.ranging import choose_settings
from edgefleet_agent.sensors.rapl import Rapl
from edgefleet_agent.sensors.replay import ReplaySensor, parse_power_csv, parse_ptdaemon_log
from edgefleet_agent.sensors.smbus_bus import SmbusBus
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.sensors.sysfs import read_text

DEFAULT_PERIOD_S = 0.005
"""Read period for which settings are chosen where none are given."""


class _ClaimedBus:
    """A bus that gives up the claim on its one chip when it is closed."""

    def __init__(self, bus: I2CBus, claim: ChipClaim) -> None:
        self._bus, self._claim = bus, claim
        self.name = bus.name
        self.read_word_be = bus.read_word_be
        self.write_word_be = bus.write_word_be
        self.read_block_be = bus.read_block_be

    def close(self) -> None:
        """Close the bus and release the chip."""
        self._bus.close()
        self._claim.release()


def open_sensor(spec: SensorSpec, clock: Clock, *, root: Path = Path("/")) -> PowerSensor:
    """Return the opened, not yet configured sensor; raises a coded ``SensorError``. ``root`` holds sys/."""
    if spec.fake:
        return _open_fake(spec, clock)
    if spec.is_ina:
        return _open_claimed(spec)
    if spec.kind == "hwmon":
        return open_hwmon(Path(spec.path), scope=spec.scope, channels=spec.channels, shunt=spec.shunt)
    if spec.kind == "jetson":
        return open_jetson(root)
    if spec.kind == "rapl":
        return Rapl(root)
    if spec.kind == "power_supply":
        return Battery(Path(spec.path))
    if spec.kind == "replay":
        return open_replay(spec, clock)
    return Pi5Pmic()


def make_ina(spec: SensorSpec, bus: I2CBus) -> InaChip:
    """Return the driver of an INA chip on a bus, with settings for the default period where none are given."""
    driver = INA_DRIVERS[spec.kind]
    widest = len(driver.facts.shunt_full_scale_v) - 1
    settings = spec.settings or choose_settings(
        driver.facts, DEFAULT_PERIOD_S, n_channels=len(spec.channels), gain_code=widest
    )
    wiring = Wiring(spec.address, spec.scope, spec.shunt, spec.channels)
    return driver(bus, wiring, settings, readiness=Readiness(spec.readiness))


def open_replay(spec: SensorSpec, clock: Clock) -> ReplaySensor:
    """Return the player of the recorded trace at ``spec.path``: a PTDaemon log, or a CSV with units in its header."""
    path = Path(spec.path)
    text = read_text(path)
    if text.startswith("Time,"):
        return ReplaySensor(parse_ptdaemon_log(text, source=path.name), clock)
    return ReplaySensor(parse_power_csv(text, scope=spec.scope, source=path.name), clock)


def _open_claimed(spec: SensorSpec) -> InaChip:
    bus = SmbusBus(spec.bus)
    try:
        claimed = _ClaimedBus(bus, ChipClaim(chip_place(bus, spec.address)))
    except BaseException:
        bus.close()
        raise
    return make_ina(spec, claimed)


def _open_fake(spec: SensorSpec, clock: Clock) -> InaChip:
    # imported here: the fakes need numpy's start-up time, which a real sampler does not spend
    from edgefleet_agent.sensors.fake.factory import fake_bus_from_json

    sensor = make_ina(spec, fake_bus_from_json(spec, clock))
    return _labelled(sensor, spec.fake)


def _labelled(sensor: InaChip, fake: Mapping[str, Any]) -> InaChip:
    sensor.traits = replace(sensor.traits, provenance=str(fake.get("provenance", "simulated")))
    return sensor
