"""What is wrong with the power sensors of this board, and how to fix it: for ``edgefleet-agent doctor``."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

from edgefleet_agent.sensors.clock import Clock, MonotonicClock
from edgefleet_agent.sensors.errors import SensorError
from edgefleet_agent.sensors.finder import (
    FoundChip,
    OpenBus,
    bus_speed_hz,
    claiming_driver,
    find_kernel_sensors,
    i2c_buses,
    scan_bus,
)
from edgefleet_agent.sensors.findings import OK, PROBLEM, WARNING, SensorFinding
from edgefleet_agent.sensors.opening import open_sensor
from edgefleet_agent.sensors.power_sensor import OVERFLOW, SATURATED, STALE, PowerSensor, Reading
from edgefleet_agent.sensors.smbus_bus import SmbusBus
from edgefleet_agent.sensors.spec import SensorSpec

FAST_BUS_HZ = 400_000
N_READS = 40
LONGEST_TEST_NS = 2_000_000_000
SLOW_READ_S = 0.0015
"""Three transfers at 400 kHz take 0.4 ms; at 100 kHz 1.4 ms."""

OpenSensor = Callable[[SensorSpec, Clock], PowerSensor]


def describe_sensors(
    configured: Sequence[SensorSpec] = (),
    *,
    root: Path = Path("/"),
    open_bus: OpenBus = SmbusBus,
    open_configured: OpenSensor = open_sensor,
    clock: Clock = MonotonicClock(),  # noqa: B008 - stateless
) -> list[SensorFinding]:
    """Return the findings about all power sensors: configured ones tested, others found, buses checked.

    ``root`` holds sys/, dev/ and proc/. Never raises for a sensor's trouble: that is a finding.
    """
    findings = [*_conflicts(configured)]
    for spec in configured:
        findings += try_sensor(spec, open_configured=open_configured, clock=clock, root=root)
    taken = {(spec.bus, spec.address) for spec in configured if spec.is_ina}
    for number in i2c_buses(root):
        findings += _describe_bus(number, root, open_bus, frozenset(a for bus, a in taken if bus == number))
    for spec in find_kernel_sensors(root):
        findings += _describe_kernel_sensor(spec, root, clock)
    if not any(finding.level == OK and finding.code == "sensor_ok" for finding in findings):
        findings.append(
            SensorFinding(
                "no_sensor",
                "power sensor",
                WARNING,
                "none is usable; energy will be null with a reason",
                "put an INA226 (10 mOhm shunt) into the 5 V feed and name it in the settings, such as "
                "ina226,bus=1,address=0x40,shunt=0.01",
            )
        )
    return findings


def try_sensor(
    spec: SensorSpec, *, open_configured: OpenSensor = open_sensor, clock: Clock, root: Path = Path("/")
) -> list[SensorFinding]:
    """Return the findings of opening, configuring and reading one sensor."""
    subject = _subject(spec)
    driver = claiming_driver(spec.bus, spec.address, root) if spec.is_ina else None
    if driver is not None:
        text = "the kernel driver {} holds {}".format(driver, subject)
        advice = "configure it as hwmon,path=/sys/class/hwmon/hwmonN, or unbind the driver"
        return [SensorFinding("address_claimed", subject, PROBLEM, text, advice)]
    try:
        sensor = open_configured(spec, clock)
    except SensorError as error:
        return [_finding_of(error, subject)]
    try:
        sensor.configure()
        return _judge(subject, sensor, *_read_some(sensor, clock))
    except SensorError as error:
        return [_finding_of(error, subject)]
    finally:
        sensor.close()


def _read_some(sensor: PowerSensor, clock: Clock) -> tuple[list[Reading], float]:
    """Return fresh readings and the median time of one read."""
    readings: list[Reading] = []
    times_ns: list[int] = []
    end_ns = clock.now_ns() + LONGEST_TEST_NS
    while len(readings) < N_READS and clock.now_ns() < end_ns:
        clock.sleep_until_ns(clock.now_ns() + round(sensor.traits.cycle_s * 1.2e9))
        started_ns = clock.now_ns()
        reading = sensor.read()
        if not reading.flags & STALE:
            times_ns.append(clock.now_ns() - started_ns)
            readings.append(reading)
    sensor.verify()
    return readings, statistics.median(times_ns) * 1e-9 if times_ns else 0.0


def _judge(subject: str, sensor: PowerSensor, readings: list[Reading], read_s: float) -> list[SensorFinding]:
    if not readings:
        text = "no conversion finished in {:.0f} s".format(LONGEST_TEST_NS * 1e-9)
        return [SensorFinding("sensor_gap", subject, PROBLEM, text, "power-cycle the chip; try readiness=timed")]
    findings = list(_doubts(subject, readings, read_s))
    last = readings[-1]
    if sensor.traits.counts_energy:
        text = "counts energy, scope {}".format(sensor.traits.scope)
    else:
        text = "reads {:.3f} W at {:.3f} V, scope {}".format(last.power_w, last.voltage_v, sensor.traits.scope)
    level = PROBLEM if any(finding.level == PROBLEM for finding in findings) else OK
    return [*findings, SensorFinding("sensor_ok" if level == OK else "sensor_doubtful", subject, level, text)]


def _doubts(subject: str, readings: list[Reading], read_s: float) -> Iterator[SensorFinding]:
    if any(reading.flags & (SATURATED | OVERFLOW) for reading in readings):
        advice = "use a smaller shunt, or check that the load's current is in the chip's range"
        yield SensorFinding("sensor_saturated", subject, PROBLEM, "the reading stands at full scale", advice)
    mean_w = statistics.fmean(reading.power_w for reading in readings)
    if mean_w < 0:
        advice = "swap IN+ and IN- of the sensor"
        yield SensorFinding("current_reversed", subject, PROBLEM, "reads {:.3f} W".format(mean_w), advice)
    if all(reading.voltage_v == 0 for reading in readings):
        advice = "connect VBUS (INA226) or IN- (INA219) to the feed"
        yield SensorFinding("no_voltage", subject, PROBLEM, "the bus voltage reads 0 V", advice)
    if read_s > SLOW_READ_S:
        text = "one read takes {:.2f} ms".format(read_s * 1e3)
        yield SensorFinding("bus_slow", subject, WARNING, text, _FASTER_BUS)


_FASTER_BUS = "set the bus to 400 kHz; on a Raspberry Pi: dtparam=i2c_arm_baudrate=400000 in config.txt"


def _describe_bus(number: int, root: Path, open_bus: OpenBus, taken: frozenset[int]) -> Iterator[SensorFinding]:
    subject = "i2c-{}".format(number)
    speed_hz = bus_speed_hz(number, root)
    if speed_hz is not None and speed_hz < FAST_BUS_HZ:
        text = "the bus runs at {:.0f} kHz".format(speed_hz / 1e3)
        yield SensorFinding("bus_slow", subject, WARNING, text, _FASTER_BUS)
    claimed = frozenset(a for a in range(0x40, 0x50) if claiming_driver(number, a, root) is not None)
    try:
        bus = open_bus(number)
    except SensorError as error:
        yield _finding_of(error, subject)
        return
    try:
        for chip in scan_bus(number, bus, taken | claimed):
            yield _describe_found(chip)
    except SensorError as error:
        yield _finding_of(error, subject)
    finally:
        bus.close()


def _describe_found(chip: FoundChip) -> SensorFinding:
    subject = "{} at {}-{:04x}".format(chip.kind, chip.bus, chip.address)
    doubt = "" if chip.is_certain else " (INA219 cannot be told by an id; it answers with its reset value)"
    line = "{},bus={},address=0x{:02x},shunt=OHM".format(chip.kind, chip.bus, chip.address)
    advice = "name it in the settings with its shunt: {}".format(line)
    return SensorFinding("not_configured", subject, WARNING, "found, but not configured" + doubt, advice)


def _describe_kernel_sensor(spec: SensorSpec, root: Path, clock: Clock) -> list[SensorFinding]:
    return try_sensor(spec, open_configured=lambda one, at: open_sensor(one, at, root=root), clock=clock, root=root)


def _conflicts(configured: Sequence[SensorSpec]) -> Iterator[SensorFinding]:
    places = [(spec.bus, spec.address) for spec in configured if spec.is_ina]
    for bus, address in sorted({place for place in places if places.count(place) > 1}):
        subject = "{}-{:04x}".format(bus, address)
        advice = "set another address with the chip's A0 and A1 pins and correct the settings"
        yield SensorFinding("address_conflict", subject, PROBLEM, "two sensors are configured for one address", advice)


def _finding_of(error: SensorError, subject: str) -> SensorFinding:
    """Turn "place: what; what to do" into a finding; the docstring of the error's class is the advice."""
    advice = (type(error).__doc__ or "").strip().split(";", 1)
    return SensorFinding(error.code, subject, PROBLEM, str(error), advice[-1].strip())


def _subject(spec: SensorSpec) -> str:
    return "{} at {}-{:04x}".format(spec.kind, spec.bus, spec.address) if spec.is_ina else spec.kind
