"""Register maths of TI's INA power monitors: pure, for Python numbers and numpy arrays alike.

Sources: INA219 SBOS448G (sections 8.5.1, 8.6), INA226 SBOS547B (7.5, 7.6), INA260 SBOS656C (8.6), INA3221 SBOS576 /
SBOS776C (8.6), INA228 SLYS021A (7.6, 8.1.2).
"""

from typing import Any

from edgefleet_agent.sensors.ina_facts import INA260_LSB_A, ChipFacts, InaSettings

Raw = Any
"""An integer register value, or a numpy integer array of them; the result has the same kind."""


def signed(raw: Raw, bits: int) -> Raw:
    """Return the two's complement value of an unsigned ``bits``-wide register."""
    return raw - ((raw >> (bits - 1) & 1) << bits)


def unsigned(value: int, bits: int) -> int:
    """Return the register bits of a signed number."""
    return value & (1 << bits) - 1


def cycle_s(facts: ChipFacts, settings: InaSettings, *, n_channels: int = 1) -> float:
    """Return the nominal time from one result to the next: channels * (shunt + bus) * averages."""
    pair_us = facts.conversion_us[settings.shunt_code] + facts.conversion_us[settings.bus_code]
    return n_channels * pair_us * facts.averages[settings.average_code] * 1e-6


def looking_s(facts: ChipFacts, settings: InaSettings) -> float:
    """Return the time one channel's shunt is really converted in a cycle."""
    return facts.conversion_us[settings.shunt_code] * facts.averages[settings.average_code] * 1e-6


def lag_s(facts: ChipFacts, settings: InaSettings, *, n_channels: int = 1) -> float:
    """Return the distance from the middle of the shunt's windows to the end of the cycle.

    The shunt is converted before the bus, so this is half a cycle and half a bus conversion (and, with several
    channels, half of what the others take; the channels' mean position is used).
    """
    pair_s = (facts.conversion_us[settings.shunt_code] + facts.conversion_us[settings.bus_code]) * 1e-6
    bus_s = facts.conversion_us[settings.bus_code] * 1e-6
    return n_channels * pair_s * facts.averages[settings.average_code] / 2 + bus_s / 2


# INA219 -----------------------------------------------------------------------------------------------------------


def ina219_config(settings: InaSettings, *, wide_bus: bool = True, mode: int = 7) -> int:
    """Return the configuration register (8.6.2.1): BRNG bit 13, PG 12..11, BADC 10..7, SADC 6..3, MODE 2..0."""
    return int(wide_bus) << 13 | settings.gain_code << 11 | settings.bus_code << 7 | settings.shunt_code << 3 | mode


def ina219_calibration(lsb_a: float, shunt_ohm: float) -> int:
    """Return CAL = trunc(0.04096 / (I_LSB * R)), at most 0xFFFE; bit 0 cannot be set (8.5.1, equation 1)."""
    # the products of decimal fractions fall short of an integer by rounding; a part in 1e9 is no calibration
    return min(int(0.04096 / (lsb_a * shunt_ohm) * (1 + 1e-9)), 0xFFFE) & 0xFFFE


def ina219_shunt_v(raw: Raw) -> Raw:
    """Return the shunt voltage; 10 uV per bit (8.6.3.1)."""
    return signed(raw, 16) * 10e-6


def ina219_bus_v(raw: Raw) -> Raw:
    """Return the bus voltage; bits 15..3, 4 mV per bit (8.6.3.2)."""
    return (raw >> 3) * 4e-3


def ina219_is_ready(raw_bus: int) -> bool:
    """Return CNVR, bit 1 of the bus voltage register."""
    return bool(raw_bus & 2)


def ina219_is_overflow(raw_bus: int) -> bool:
    """Return OVF, bit 0 of the bus voltage register."""
    return bool(raw_bus & 1)


def ina219_full_scale_code(gain_code: int) -> int:
    """Return the shunt code at which the PGA clamps: 4000, 8000, 16000, 32000 (table 7)."""
    return 4000 << gain_code


def ina219_current_register(raw_shunt: Raw, calibration: int) -> Raw:
    """Return the current register: shunt * CAL / 4096 (8.5.1, equation 4)."""
    return signed(raw_shunt, 16) * calibration // 4096


def ina219_power_register(current: Raw, raw_bus: Raw) -> Raw:
    """Return the power register: current * bus / 5000 (8.5.1, equation 5)."""
    return current * (raw_bus >> 3) // 5000


# INA226 -----------------------------------------------------------------------------------------------------------


def ina226_config(settings: InaSettings, *, mode: int = 7) -> int:
    """Return the configuration register (7.6.1): 0100 at the top, AVG 11..9, VBUSCT 8..6, VSHCT 5..3, MODE 2..0."""
    return 0x4000 | settings.average_code << 9 | settings.bus_code << 6 | settings.shunt_code << 3 | mode


def ina226_calibration(lsb_a: float, shunt_ohm: float) -> int:
    """Return CAL = 0.00512 / (I_LSB * R), 15 bits (7.5.1, equation 1)."""
    return min(int(0.00512 / (lsb_a * shunt_ohm) * (1 + 1e-9)), 0x7FFF)


def ina226_shunt_v(raw: Raw) -> Raw:
    """Return the shunt voltage; 2.5 uV per bit (7.6.2)."""
    return signed(raw, 16) * 2.5e-6


def ina226_bus_v(raw: Raw) -> Raw:
    """Return the bus voltage; 1.25 mV per bit, bit 15 is zero (7.6.3)."""
    return (raw & 0x7FFF) * 1.25e-3


def ina226_current_register(raw_shunt: Raw, calibration: int) -> Raw:
    """Return the current register: shunt * CAL / 2048 (7.5.1, equation 3)."""
    return signed(raw_shunt, 16) * calibration // 2048


def ina226_power_register(current: Raw, raw_bus: Raw) -> Raw:
    """Return the power register: current * bus / 20000 (7.5.1, equation 4)."""
    return current * raw_bus // 20000


def mask_enable_is_ready(raw: int) -> bool:
    """Return CVRF, bit 3 of register 06 of INA226 and INA260 (SBOS547B 7.6.7)."""
    return bool(raw & 8)


def mask_enable_is_overflow(raw: int) -> bool:
    """Return OVF, bit 2 of register 06 of INA226 and INA260 (SBOS547B 7.6.7)."""
    return bool(raw & 4)


# INA260 -----------------------------------------------------------------------------------------------------------


def ina260_config(settings: InaSettings, *, mode: int = 7) -> int:
    """Return the configuration register: 0110 at the top, then as INA226 (SBOS656C 8.6.1)."""
    return 0x6000 | settings.average_code << 9 | settings.bus_code << 6 | settings.shunt_code << 3 | mode


def ina260_current_a(raw: Raw) -> Raw:
    """Return the current; 1.25 mA per bit (SBOS656C 8.6.2)."""
    return signed(raw, 16) * INA260_LSB_A


# INA3221 ----------------------------------------------------------------------------------------------------------


def ina3221_config(settings: InaSettings, channels: tuple[int, ...], *, mode: int = 7) -> int:
    """Return the configuration register: channel 1 is bit 14, 3 bit 12; AVG 11..9, VBUSCT 8..6, VSHCT 5..3."""
    enabled = sum(1 << 15 - channel for channel in channels)
    return enabled | settings.average_code << 9 | settings.bus_code << 6 | settings.shunt_code << 3 | mode


def ina3221_shunt_v(raw: Raw) -> Raw:
    """Return a channel's shunt voltage; bits 15..3 signed, 40 uV per bit."""
    return (signed(raw, 16) >> 3) * 40e-6


def ina3221_bus_v(raw: Raw) -> Raw:
    """Return a channel's bus voltage; bits 15..3 signed, 8 mV per bit."""
    return (signed(raw, 16) >> 3) * 8e-3


def ina3221_shunt_sum_v(raw: Raw) -> Raw:
    """Return the sum of shunt voltages; bits 15..1 signed, 40 uV per bit, maximum 0x7FFE."""
    return (signed(raw, 16) >> 1) * 40e-6


# INA228 -----------------------------------------------------------------------------------------------------------


def ina228_adc_config(settings: InaSettings, *, mode: int = 0xB) -> int:
    """Return ADC_CONFIG: MODE 15..12 (0xB: shunt and bus, continuous), VBUSCT 11..9, VSHCT 8..6, VTCT 5..3, AVG."""
    temperature = 5 << 3
    return mode << 12 | settings.bus_code << 9 | settings.shunt_code << 6 | temperature | settings.average_code


def ina228_lsb_a(shunt_ohm: float) -> float:
    """Return the current LSB, maximum current / 2**19 (8.1.2, equation 3), for a maximum of 180 mV / R.

    A little more than the +-163.84 mV range, so that SHUNT_CAL is 4500 and not its reset value 4096: it then also
    shows a reset of the chip.
    """
    return 0.18 / shunt_ohm / 2**19


def ina228_shunt_cal(shunt_ohm: float) -> int:
    """Return SHUNT_CAL = 13107.2e6 * I_LSB * R (8.1.2, equation 2), rounded."""
    return round(13107.2e6 * ina228_lsb_a(shunt_ohm) * shunt_ohm)


def ina228_shunt_v(raw: Raw) -> Raw:
    """Return the shunt voltage; bits 23..4 signed, 312.5 nV per bit (ADCRANGE = 0)."""
    return (signed(raw, 24) >> 4) * 312.5e-9


def ina228_bus_v(raw: Raw) -> Raw:
    """Return the bus voltage; bits 23..4, 195.3125 uV per bit."""
    return (raw >> 4) * 195.3125e-6


def ina228_energy_j(raw: Raw, shunt_ohm: float) -> Raw:
    """Return the energy counted in the chip: 16 * 3.2 * I_LSB per bit (8.1.2, equation 6)."""
    return raw * (16 * 3.2 * ina228_lsb_a(shunt_ohm))


def ina228_is_ready(raw_diag: int) -> bool:
    """Return CNVRF, bit 1 of DIAG_ALRT."""
    return bool(raw_diag & 2)


def ina228_is_overflow(raw_diag: int) -> bool:
    """Return MATHOF or ENERGYOF, bits 9 and 11 of DIAG_ALRT."""
    return bool(raw_diag & 0x0A00)
