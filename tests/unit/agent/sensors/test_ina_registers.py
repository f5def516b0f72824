"""Register maths against TI's data sheets and the published tests of pi_ina219 (MIT)."""

import numpy as np
import pytest

from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.ina_facts import InaSettings

RESET_219 = InaSettings(shunt_code=3, bus_code=3, gain_code=3)
RESET_226 = InaSettings(shunt_code=4, bus_code=4)


class TestIna219DataSheet:
    """SBOS448G table 8: 2 mOhm, 1 mA per bit, 20 mV, 11.98 V, 10 A."""

    def test_shunt_register_07d0_is_20_mv(self) -> None:
        assert ina.ina219_shunt_v(0x07D0) == pytest.approx(0.020)

    def test_bus_register_5d98_is_11_98_v(self) -> None:
        assert 0x5D98 >> 3 == 2995
        assert ina.ina219_bus_v(0x5D98) == pytest.approx(11.98)

    def test_calibration_is_5000(self) -> None:
        assert ina.ina219_calibration(lsb_a=1e-3, shunt_ohm=2e-3) == 0x5000

    def test_current_and_power_registers(self) -> None:
        current = ina.ina219_current_register(0x07D0, 0x5000)
        assert current == 0x2710
        assert ina.ina219_power_register(current, 0x5D98) == 0x1766  # 5990 * 20 mW = 119.8 W

    @pytest.mark.parametrize(
        ("raw", "volts"),
        [
            (0x7D00, 0.320),
            (0x8300, -0.320),
            (0x3E80, 0.160),
            (0xC180, -0.160),
            (0x1F40, 0.080),
            (0xE0C0, -0.080),
            (0x0FA0, 0.040),
            (0xF060, -0.040),
        ],
    )
    def test_full_scale_codes_of_table_7(self, raw: int, volts: float) -> None:
        assert ina.ina219_shunt_v(raw) == pytest.approx(volts)

    @pytest.mark.parametrize(("gain_code", "code"), [(0, 0x0FA0), (1, 0x1F40), (2, 0x3E80), (3, 0x7D00)])
    def test_clamp_codes_of_table_7(self, gain_code: int, code: int) -> None:
        assert ina.ina219_full_scale_code(gain_code) == code

    def test_reset_configuration(self) -> None:
        assert ina.ina219_config(RESET_219) == 0x399F


class TestPiIna219:
    """Values of the tests of chrisb2/pi_ina219."""

    @pytest.mark.parametrize(("raw", "volts"), [(0xFA00, 32.0), (0x7D00, 16.0), (0x2592, 4.808), (0x8, 0.004)])
    def test_bus_voltage(self, raw: int, volts: float) -> None:
        assert ina.ina219_bus_v(raw) == pytest.approx(volts)

    def test_overflow_and_ready_bits(self) -> None:
        assert ina.ina219_is_overflow(0x0FA1)
        assert ina.ina219_is_ready(0x000A)
        assert not ina.ina219_is_ready(0x0008)

    @pytest.mark.parametrize(
        ("gain_code", "wide_bus", "word"), [(0, False, 0x019F), (0, True, 0x219F), (1, False, 0x099F)]
    )
    def test_configuration_words(self, gain_code: int, *, wide_bus: bool, word: int) -> None:
        settings = InaSettings(shunt_code=3, bus_code=3, gain_code=gain_code)
        assert ina.ina219_config(settings, wide_bus=wide_bus) == word

    def test_calibration_has_a_ceiling(self) -> None:
        assert ina.ina219_calibration(lsb_a=1e-6, shunt_ohm=0.1) == 0xFFFE


class TestIna226DataSheet:
    """SBOS547B table 6-1: 2 mOhm, 20 mV, 11.98 V."""

    def test_registers(self) -> None:
        assert ina.ina226_shunt_v(0x1F40) == pytest.approx(0.020)
        assert ina.ina226_bus_v(0x2570) == pytest.approx(11.98)
        assert ina.ina226_calibration(lsb_a=1e-3, shunt_ohm=2e-3) == 0x0A00
        current = ina.ina226_current_register(0x1F40, 0x0A00)
        assert current == 0x2710
        assert ina.ina226_power_register(current, 0x2570) == 0x12B8  # 4792 * 25 mW = 119.8 W

    def test_minus_80_mv(self) -> None:
        assert ina.ina226_shunt_v(0x8300) == pytest.approx(-0.080)

    def test_reset_configuration_and_cycle(self) -> None:
        assert ina.ina226_config(RESET_226) == 0x4127
        assert ina.cycle_s(ina_facts.INA226, RESET_226) == pytest.approx(2.2e-3)


class TestOtherChips:
    """INA260 SBOS656C, INA3221 SBOS776C, INA228 SLYS021A."""

    def test_ina3221_limits(self) -> None:
        assert ina.ina3221_shunt_v(0x7FF8) == pytest.approx(0.1638)
        assert ina.ina3221_shunt_v(0x8000) == pytest.approx(-0.16384)
        assert ina.ina3221_shunt_sum_v(0x7FFE) == pytest.approx(0x3FFF * 40e-6)

    def test_ina3221_reset_configuration_and_cycle(self) -> None:
        assert ina.ina3221_config(RESET_226, (1, 2, 3)) == 0x7127
        assert ina.cycle_s(ina_facts.INA3221, RESET_226, n_channels=3) == pytest.approx(6.6e-3)

    def test_ina260_units(self) -> None:
        assert ina.ina260_current_a(1) == 1.25e-3
        assert ina.ina260_config(RESET_226) == 0x6127
        assert ina.ina260_config(InaSettings(4, 4, 2)) == 0x6527  # what the kernel writes: 16 averages

    def test_ina228_units(self) -> None:
        assert ina.ina228_bus_v(1 << 4) == 195.3125e-6
        assert ina.ina228_shunt_v(0xFFFFF0) == -312.5e-9
        assert ina.ina228_adc_config(InaSettings(5, 5, 2)) == 0xBB6A  # the kernel's 0xFB6A without temperature

    def test_ina228_calibration_is_not_the_reset_value(self) -> None:
        """Otherwise a reset of the chip would not show."""
        assert ina.ina228_shunt_cal(0.015) == 4500

    def test_ina228_energy_unit(self) -> None:
        """16 * 3.2 * I_LSB, with I_LSB = 0.18 V / 15 mOhm / 2**19."""
        assert ina.ina228_energy_j(1, 0.015) == pytest.approx(51.2 * 12.0 / 524288)

    def test_ina219_reset_cycle_is_1_064_ms(self) -> None:
        assert ina.cycle_s(ina_facts.INA219, RESET_219) == pytest.approx(1.064e-3)


def test_maths_takes_arrays() -> None:
    raw = np.array([0x1F40, 0x8300])
    assert ina.ina226_shunt_v(raw) == pytest.approx([0.020, -0.080])


@pytest.mark.parametrize("bits", [16, 24])
def test_signed_and_unsigned_are_inverse(bits: int) -> None:
    for value in (0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))):
        assert ina.signed(ina.unsigned(value, bits), bits) == value


def test_lag_of_ina226_at_reset_is_half_a_cycle_and_half_a_bus_conversion() -> None:
    assert ina.lag_s(ina_facts.INA226, RESET_226) == pytest.approx(1.1e-3 + 0.55e-3)
