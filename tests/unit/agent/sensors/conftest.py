"""Builders shared by the sensor tests."""

from collections.abc import Callable
from typing import Any

import pytest

from edgefleet_agent.sensors.fake.chips import FAKE_CHIPS
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.fake_bus import FakeBus
from edgefleet_agent.sensors.fake.fake_ina import FakeIna, Load
from edgefleet_agent.sensors.fake.waveforms import Constant, Waveform
from edgefleet_agent.sensors.ina_facts import InaSettings
from edgefleet_agent.sensors.ina_sensor import InaChip
from edgefleet_agent.sensors.opening import make_ina
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec

ADDRESS = 0x40
SHUNT_OHM = {"ina219": 0.1, "ina226": 0.01, "ina228": 0.015, "ina260": 0.002, "ina3221": 0.01}


FIVE_WATTS = Constant(5.0)


class Rig:
    """A driver, the fake chip behind it, and their bus and clock."""

    def __init__(
        self,
        kind: str,
        waveform: Waveform = FIVE_WATTS,
        settings: InaSettings | None = None,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock()
        settings = settings or InaSettings(3, 3, gain_code=3 if kind == "ina219" else 0)
        readiness = options.pop("readiness", "flag")
        faults = options.pop("faults", ())
        voltage_v = options.pop("voltage_v", 5.0)
        transfer_ns = options.pop("transfer_ns", 10_000)
        shunt_ohm = SHUNT_OHM[kind]
        self.chip: FakeIna = FAKE_CHIPS[kind]({1: Load(waveform, voltage_v)}, shunt_ohm, **options)
        self.bus = FakeBus({ADDRESS: self.chip}, self.clock, transfer_ns=transfer_ns, faults=faults)
        shunt = None if kind == "ina260" else ShuntCalibration(shunt_ohm)
        spec = SensorSpec(kind, shunt=shunt, settings=settings, readiness=readiness)
        self.sensor: InaChip = make_ina(spec, self.bus)

    def wait_ms(self, milliseconds: float) -> None:
        """Let virtual time pass."""
        self.clock.advance_ns(round(milliseconds * 1e6))


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    return Rig
