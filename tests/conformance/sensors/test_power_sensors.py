"""What every power sensor does: a new kind adds one builder here."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.fake.chips import FAKE_CHIPS
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.waveforms import Constant
from edgefleet_agent.sensors.opening import open_sensor
from edgefleet_agent.sensors.pi5_pmic import Pi5Pmic
from edgefleet_agent.sensors.power_sensor import FAILED, SCOPES, STALE, PowerSensor
from edgefleet_agent.sensors.recording import record, traits_to_json
from edgefleet_agent.sensors.replay import ReplaySensor, Trace
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec

POWER_W = 4.0
Build = Callable[[Path, Clock], PowerSensor]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")
    return folder


def ina(kind: str) -> Build:
    def build(root: Path, clock: Clock) -> PowerSensor:
        shunt = None if kind == "ina260" else ShuntCalibration(0.1 if kind == "ina219" else 0.01)
        return open_sensor(SensorSpec(kind, shunt=shunt, fake=fake_options(Constant(POWER_W))), clock)

    return build


def hwmon(root: Path, clock: Clock) -> PowerSensor:
    folder = write(root / "hwmon0", name="ina226", in1_input="5000", curr1_input="800", update_interval="5")
    return open_sensor(SensorSpec("hwmon", path=str(folder)), clock)


def jetson(root: Path, clock: Clock) -> PowerSensor:
    device = write(root / "sys/bus/i2c/devices/6-0040", name="ina3221x")
    write(device / "iio:device0", rail_name_0="POM_5V_IN", in_voltage0_input="5000", in_current0_input="800")
    return open_sensor(SensorSpec("jetson"), clock, root=root)


def rapl(root: Path, clock: Clock) -> PowerSensor:
    zone = root / "sys/class/powercap/intel-rapl:0"
    write(zone, name="package-0", energy_uj="5", max_energy_range_uj="1000000")
    return open_sensor(SensorSpec("rapl"), clock, root=root)


def battery(root: Path, clock: Clock) -> PowerSensor:
    folder = write(root / "BAT0", type="Battery", status="Discharging", power_now="4000000")
    return open_sensor(SensorSpec("power_supply", path=str(folder)), clock)


def pmic(root: Path, clock: Clock) -> PowerSensor:
    return Pi5Pmic(lambda: " VDD_CORE_A current(7)=4.0A\n VDD_CORE_V volt(15)=1.0V\n")


def replay(root: Path, clock: Clock) -> PowerSensor:
    return ReplaySensor(Trace((0.0, 1.0, 2.0), (POWER_W,) * 3, "wall_ac", "made here"), clock)


def replay_file(root: Path, clock: Clock) -> PowerSensor:
    path = write(root, trace="t_s,power_w\n0,4.0\n1,4.0\n2,4.0") / "trace"
    return open_sensor(SensorSpec("replay", path=str(path), scope="module_input"), clock)


BUILDERS: dict[str, Build] = {
    **{kind: ina(kind) for kind in FAKE_CHIPS},
    "hwmon": hwmon,
    "jetson": jetson,
    "rapl": rapl,
    "battery": battery,
    "pi5_pmic": pmic,
    "replay": replay,
    "replay_file": replay_file,
}


@pytest.fixture(params=sorted(BUILDERS))
def build(request: pytest.FixtureRequest) -> Build:
    return BUILDERS[request.param]


def test_configured_sensor_reads_the_power(build: Build, tmp_path: Path) -> None:
    clock = VirtualClock()
    sensor = build(tmp_path, clock)
    sensor.configure()
    clock.advance_ns(50_000_000)
    reading = sensor.read()
    assert not reading.flags & (STALE | FAILED)
    if sensor.traits.counts_energy:
        assert math.isfinite(reading.energy_j)
    else:
        assert reading.power_w == pytest.approx(POWER_W, abs=0.025)
    sensor.close()


def test_undisturbed_sensor_verifies(build: Build, tmp_path: Path) -> None:
    sensor = build(tmp_path, VirtualClock())
    sensor.configure()
    sensor.verify()
    sensor.close()


def test_traits_are_complete_and_travel_as_json(build: Build, tmp_path: Path) -> None:
    sensor = build(tmp_path, VirtualClock())
    assert sensor.traits.scope in SCOPES
    assert sensor.traits.provenance in {"measured", "simulated", "replayed"}
    assert json.loads(json.dumps(traits_to_json(sensor.traits)))["chip"] == sensor.traits.chip
    sensor.close()


def test_sampling_loop_records_it(build: Build, tmp_path: Path) -> None:
    clock = VirtualClock()
    sensor = build(tmp_path, clock)
    recording = record(sensor, clock, period_s=0.01, duration_s=0.5)
    assert recording.n_attempts == pytest.approx(50, abs=1)
    assert recording.achieved_ratio == 1.0
    sensor.close()
