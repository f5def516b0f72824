"""Runs inside the guest: the agent's bus adapter and drivers on the kernel's own I2C stack.

i2c-stub is a memory, not a chip: this proves register addresses, byte order, error numbers and the conflict with a
kernel driver, nothing about conversion.
"""

import sys
from pathlib import Path

from edgefleet_agent.sensors.errors import AddressClaimed, SensorError, SensorMissing, SensorReset, WrongChip
from edgefleet_agent.sensors.finder import claiming_driver, i2c_buses, scan_bus
from edgefleet_agent.sensors.opening import make_ina
from edgefleet_agent.sensors.selftest import describe_sensors
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.smbus_bus import SmbusBus
from edgefleet_agent.sensors.spec import SensorSpec

SHUNT = ShuntCalibration(0.01)
FIVE_VOLTS_TWO_AMPERES = {
    # address: kind, registers of a chip that sees 5 V and 20 mV
    0x40: ("ina219", {0x00: 0x399F, 0x01: 0x07D0, 0x02: 1250 << 3 | 2}),
    0x41: ("ina226", {0x00: 0x4127, 0x01: 0x1F40, 0x02: 0x0FA0, 0x06: 8, 0xFE: 0x5449, 0xFF: 0x2260}),
    0x42: ("ina3221", {0x00: 0x7127, 0x01: 0x0FA0, 0x02: 0x1388, 0x0F: 1, 0xFE: 0x5449, 0xFF: 0x3220}),
}


def check(name: str, *, holds: bool) -> None:
    """Print one line and end at the first failure."""
    print("{} {}".format("ok  " if holds else "FAIL", name), flush=True)  # noqa: T201 - the console is the report
    if not holds:
        sys.exit(1)


def raises(error: type[SensorError], kind: str, bus: SmbusBus, address: int) -> bool:
    """Return whether configuring a chip ends with this error."""
    try:
        make_ina(SensorSpec(kind, address=address, shunt=SHUNT), bus).configure()
    except error:
        return True
    return False


def check_drivers(bus: SmbusBus) -> None:
    """Registers and byte order of three kinds on one bus."""
    for address, (kind, registers) in FIVE_VOLTS_TWO_AMPERES.items():
        for register, value in registers.items():
            bus.write_word_be(address, register, value)
        sensor = make_ina(SensorSpec(kind, bus=0, address=address, shunt=SHUNT), bus)
        sensor.configure()
        sensor.verify()
        reading = sensor.read()
        check("{} reads 10 W: {:.4f}".format(sensor.place, reading.power_w), holds=abs(reading.power_w - 10) < 1e-6)


def check_errors(bus: SmbusBus) -> None:
    """What the kernel says of absent, wrong and reset chips."""
    check("free address is a missing sensor", holds=raises(SensorMissing, "ina226", bus, 0x4F))
    check("INA3221 is no INA226", holds=raises(WrongChip, "ina226", bus, 0x42))
    sensor = make_ina(SensorSpec("ina226", address=0x41, shunt=SHUNT), bus)
    sensor.configure()
    bus.write_word_be(0x41, 0x00, 0x4127)
    try:
        sensor.verify()
        was_found = False
    except SensorReset:
        was_found = True
    check("changed configuration is a reset", holds=was_found)


def check_blocks(bus: SmbusBus) -> None:
    """i2c-stub answers block reads with the low bytes of consecutive registers."""
    for register, byte in ((0x20, 0x12), (0x21, 0x34), (0x22, 0x56)):
        bus.write_word_be(0x43, register, byte << 8)
    check("block reads keep the order of the wire", holds=bus.read_block_be(0x43, 0x20, 3) == 0x123456)


def check_claimed(bus: SmbusBus) -> None:
    """A kernel driver takes the address away."""
    # ina2xx-adc is the INA driver of Debian's stock kernel
    Path("/sys/bus/i2c/devices/i2c-0/new_device").write_text("ina226 0x41")
    check("kernel driver is bound: {}".format(claiming_driver(0, 0x41)), holds=claiming_driver(0, 0x41) is not None)
    check("its address is claimed (EBUSY)", holds=raises(AddressClaimed, "ina226", bus, 0x41))
    findings = describe_sensors([SensorSpec("ina226", bus=0, address=0x41, shunt=SHUNT)])
    check("the doctor says so", holds=any(finding.code == "address_claimed" for finding in findings))


def main() -> None:
    """Run all checks."""
    check("bus is found", holds=0 in i2c_buses())
    bus = SmbusBus(0)
    check_drivers(bus)
    found = {chip.address: chip.kind for chip in scan_bus(0, bus)}
    check("scan finds {}".format(found), holds={0x41: "ina226", 0x42: "ina3221"}.items() <= found.items())
    check_errors(bus)
    check_blocks(bus)
    check_claimed(bus)
    bus.close()


if __name__ == "__main__":
    main()
