from dataclasses import replace

from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness
from edgefleet_agent.sensors.power_sensor import (
    FRESH,
    OVERFLOW,
    SATURATED,
    STALE_READING,
    Reading,
    SensorTraits,
)

_CONFIG, _SHUNT_CAL, _SHUNT, _BUS, _ENERGY, _DIAGNOSIS = 0x00, 0x02, 0x04, 0x05, 0x09, 0x0B
_RESET_ACCUMULATORS = 1 << 14
_FULL_SCALE = (0x7FFFF, 0x80000)


class Ina228(InaChip):
    """INA228 (SLYS021A): 20-bit results and an energy counter in the chip, so jitter and aliasing vanish.

    Reading DIAG_ALRT consumes the ready flag.
    """

    facts = ina_facts.INA228

    def config_word(self) -> int:
        """Return ADC_CONFIG: shunt and bus continuous."""
        return ina.ina228_adc_config(self.settings)

    def canary_word(self) -> int:
        """Return SHUNT_CAL, which the energy counter needs."""
        return ina.ina228_shunt_cal(self.wiring.shunt_ohm)

    def configure(self) -> None:
        """Configure as every chip and start the energy counter at zero."""
        super().configure()
        self.write_word(_CONFIG, _RESET_ACCUMULATORS)

    def read(self) -> Reading:
        """Return the newest conversion with the energy counted so far, or a stale mark."""
        flags = 0
        if self.readiness is Readiness.FLAG:
            status = self.read_word(_DIAGNOSIS)
            if not ina.ina228_is_ready(status):
                return STALE_READING
            flags = FRESH | (OVERFLOW if ina.ina228_is_overflow(status) else 0)
        raw_shunt = self.bus.read_block_be(self.wiring.address, _SHUNT, 3)
        raw_bus = self.bus.read_block_be(self.wiring.address, _BUS, 3)
        raw_energy = self.bus.read_block_be(self.wiring.address, _ENERGY, 5)
        if raw_shunt >> 4 in _FULL_SCALE:
            flags |= SATURATED
        current_a = ina.ina228_shunt_v(raw_shunt) / self.wiring.shunt_ohm
        voltage_v = ina.ina228_bus_v(raw_bus)
        energy_j = ina.ina228_energy_j(raw_energy, self.wiring.shunt_ohm)
        return Reading(voltage_v * current_a, voltage_v, current_a, flags, energy_j)

    def _make_traits(self) -> SensorTraits:
        # the counter adds a whole cycle when the cycle ends, so it lags by its staleness only
        return replace(super()._make_traits(), counts_energy=True, lag_s=0.0)
