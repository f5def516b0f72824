"""Register-accurate fakes of the five INA chips."""

from typing import Any, Callable

from edgefleet_agent.sensors import ina_facts
from edgefleet_agent.sensors.fake.fake_ina import Configuration, FakeIna, rounded
from edgefleet_agent.sensors.ina import unsigned
from edgefleet_agent.sensors.ina_facts import InaSettings


class FakeIna219(FakeIna):
    """INA219. ``cleared_by`` is the register whose reading clears CNVR: 2 (section 8.3.1) or 3 (8.6.3.2)."""

    facts = ina_facts.INA219
    cleared_by = 3

    def decode_config(self, word: int) -> Configuration:
        """Decode the configuration register (8.6.2.1)."""
        mode = word & 7
        settings = InaSettings(_adc_code(word >> 3), _adc_code(word >> 7), gain_code=word >> 11 & 3)
        return Configuration(settings, (1,), mode & 3 != 0, bool(mode & 4))

    def shunt_code(self, voltage_v: Any) -> Any:
        """Return the code, 10 uV per bit; the PGA clamps (table 7)."""
        limit = 4000 << self.config.settings.gain_code
        return rounded(voltage_v / 10e-6, -limit, limit)

    def bus_code(self, voltage_v: Any) -> Any:
        """Return the code, 4 mV per bit, up to 32 V."""
        return rounded(voltage_v / 4e-3, 0, 8000)

    def read(self, register: int, now_ns: int) -> int:
        """Return a register; results are computed as in section 8.5.1."""
        stored = super().read(register, now_ns)
        if register not in (1, 2, 3, 4):
            return stored
        shunt, bus = int(self.codes.shunt[1]), int(self.codes.bus[1])
        calibration = self.registers.get(5, 0)
        current = shunt * calibration // 4096
        power = current * bus // 5000
        overflows = not -0x8000 <= current <= 0x7FFF or power > 0xFFFF
        ready = self.is_ready
        if register == self.cleared_by:
            self.acknowledge()
        if register == 2:
            return bus << 3 | int(ready) << 1 | int(overflows)
        return unsigned({1: shunt, 3: power, 4: current}[register], 16)


class FakeIna226(FakeIna):
    """INA226: CVRF is cleared by reading register 06 or writing the configuration."""

    facts = ina_facts.INA226

    def decode_config(self, word: int) -> Configuration:
        """Decode the configuration register (7.6.1)."""
        return Configuration(_ina2xx_settings(word), (1,), word & 3 != 0, bool(word & 4))

    def shunt_code(self, voltage_v: Any) -> Any:
        """Return the code, 2.5 uV per bit."""
        return rounded(voltage_v / 2.5e-6, -0x8000, 0x7FFF)

    def bus_code(self, voltage_v: Any) -> Any:
        """Return the code, 1.25 mV per bit."""
        return rounded(voltage_v / 1.25e-3, 0, 0x7FFF)

    def results(self) -> dict[int, int]:
        """Return the result registers 01 to 04."""
        shunt, bus = int(self.codes.shunt[1]), int(self.codes.bus[1])
        current = shunt * self.registers.get(5, 0) // 2048
        return {1: shunt, 2: bus, 3: abs(current) * bus // 20000, 4: current}

    def read(self, register: int, now_ns: int) -> int:
        """Return a register."""
        stored = super().read(register, now_ns)
        if register == 6:
            ready, overflows = self.is_ready, self.results()[3] > 0xFFFF
            self.acknowledge()
            return stored & 0xFFF3 | int(ready) << 3 | int(overflows) << 2
        if register in (1, 2, 3, 4):
            return unsigned(self.results()[register], 16)
        return stored


class FakeIna260(FakeIna226):
    """INA260: register 01 is the current, 1.25 mA per bit; the 2 mOhm shunt is inside."""

    facts = ina_facts.INA260

    def shunt_code(self, voltage_v: Any) -> Any:
        """Return the current code."""
        return rounded(voltage_v / self.shunt_ohm / 1.25e-3, -0x8000, 0x7FFF)

    def results(self) -> dict[int, int]:
        """Return the result registers 01 to 03; power is 10 mW per bit."""
        current, bus = int(self.codes.shunt[1]), int(self.codes.bus[1])
        return {1: current, 2: bus, 3: int(abs(current) * 1.25e-3 * bus * 1.25e-3 / 10e-3), 4: 0}


class FakeIna3221(FakeIna):
    """INA3221: three channels converted in turn; CVRF is bit 0 of register 0F."""

    facts = ina_facts.INA3221

    def decode_config(self, word: int) -> Configuration:
        """Decode the configuration register; an empty channel list does not convert."""
        channels = tuple(channel for channel in (1, 2, 3) if word >> 15 - channel & 1)
        return Configuration(_ina2xx_settings(word), channels or (1,), bool(channels) and word & 3 != 0, bool(word & 4))

    def power_on_registers(self) -> dict[int, int]:
        """Return the reset values; the limits stand at full scale."""
        return {**super().power_on_registers(), **dict.fromkeys(range(7, 13), 32760)}

    def shunt_code(self, voltage_v: Any) -> Any:
        """Return the code, 40 uV per bit: 0x7FF8 >> 3 = 4095 at most."""
        return rounded(voltage_v / 40e-6, -4096, 4095)

    def bus_code(self, voltage_v: Any) -> Any:
        """Return the code, 8 mV per bit."""
        return rounded(voltage_v / 8e-3, -4096, 4095)

    def read(self, register: int, now_ns: int) -> int:
        """Return a register."""
        stored = super().read(register, now_ns)
        if 1 <= register <= 6:
            channel = (register + 1) // 2
            codes = self.codes.shunt if register % 2 else self.codes.bus
            return unsigned(int(codes.get(channel, 0)) << 3, 16)
        if register == 0x0D:
            total = sum(int(code) for code in self.codes.shunt.values())
            return unsigned(min(max(total, -0x4000), 0x3FFF) << 1, 16)
        if register == 0x0F:
            ready = self.is_ready
            self.acknowledge()
            return stored & 0xFFFE | int(ready)
        return stored


class FakeIna228(FakeIna):
    """INA228: 24-bit results and a 40-bit energy counter."""

    facts = ina_facts.INA228
    _counting_from_s = 0.0

    def decode_config(self, word: int) -> Configuration:
        """Decode ADC_CONFIG."""
        settings = InaSettings(word >> 6 & 7, word >> 9 & 7, word & 7)
        mode = word >> 12
        return Configuration(settings, (1,), mode & 7 != 0, bool(mode & 8))

    def power_on_registers(self) -> dict[int, int]:
        """Return the reset values."""
        return {**super().power_on_registers(), 0x02: 0x1000}

    def shunt_code(self, voltage_v: Any) -> Any:
        """Return the 20-bit code, 312.5 nV per bit."""
        return rounded(voltage_v / 312.5e-9, -(1 << 19), (1 << 19) - 1)

    def bus_code(self, voltage_v: Any) -> Any:
        """Return the 20-bit code, 195.3125 uV per bit."""
        return rounded(voltage_v / 195.3125e-6, 0, (1 << 19) - 1)

    def write(self, register: int, value: int, now_ns: int) -> None:
        """Write a register; RSTACC (CONFIG bit 14) clears the counter and itself."""
        super().write(register, value, now_ns)
        if register == 0 and value & 1 << 14:
            self._counting_from_s = self.elapsed_s
            self.registers[0] = value & ~(1 << 14)

    def energy_code(self, until_s: Any) -> Any:
        """Return the ENERGY register when counting ended at ``until_s`` of the waveform."""
        load, errors = self.loads[1], self.errors
        gain = (1 + errors.shunt_gain) * (1 + errors.bus_gain + errors.bus_offset_v / load.voltage_v)
        offset_w = errors.shunt_offset_v * load.voltage_v / self.shunt_ohm
        energy_j = load.waveform.energy_j(self._counting_from_s, until_s) * gain
        energy_j = energy_j + offset_w * (until_s - self._counting_from_s)
        # current counts = shunt counts * 4096 / SHUNT_CAL; energy counts 16 * 3.2 of them times volts and seconds (8.1.2)
        shunt_counts = energy_j * self.shunt_ohm / 312.5e-9
        return rounded(shunt_counts * 4096 / self.registers[0x02] / (16 * 3.2) - 0.5, 0, (1 << 40) - 1)

    def read(self, register: int, now_ns: int) -> int:
        """Return a register of 16, 24 or 40 bits."""
        stored = super().read(register, now_ns)
        if register == 0x04:
            return unsigned(int(self.codes.shunt[1]) << 4, 24)
        if register == 0x05:
            return int(self.codes.bus[1]) << 4
        if register == 0x09:
            return int(self.energy_code(self.elapsed_s))
        if register == 0x0B:
            ready = self.is_ready
            self.acknowledge()
            return stored & 0xFFFD | int(ready) << 1
        return stored


def _adc_code(bits: int) -> int:
    """Return the code as it stands in table 5: bit 2 is ignored below 8, and 8 means 12 bits like 3."""
    code = bits & 0xF
    return code if code & 8 else code & 3


def _ina2xx_settings(word: int) -> InaSettings:
    return InaSettings(word >> 3 & 7, word >> 6 & 7, word >> 9 & 7)


FAKE_CHIPS: dict[str, Callable[..., FakeIna]] = {
    "ina219": FakeIna219,
    "ina226": FakeIna226,
    "ina260": FakeIna260,
    "ina3221": FakeIna3221,
    "ina228": FakeIna228,
}
"""Kind -> fake."""
