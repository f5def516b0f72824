from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness
from edgefleet_agent.sensors.power_sensor import FRESH, OVERFLOW, SATURATED, STALE_READING, PowerLimits, Reading

_CURRENT, _BUS, _MASK_ENABLE = 0x01, 0x02, 0x06
_FULL_SCALE = (0x7FFF, 0x8000)


class Ina260(InaChip):
    """INA260 with its built-in 2 mOhm shunt (SBOS656C). Reading register 06 consumes the ready flag."""

    facts = ina_facts.INA260

    def config_word(self) -> int:
        """Return the configuration: current and bus continuous."""
        return ina.ina260_config(self.settings)

    def power_limits(self) -> PowerLimits:
        """Return the data sheet's limits; the shunt is part of the chip and of its gain."""
        return PowerLimits(
            gains={"current": self.facts.shunt_gain_limit, "voltage": self.facts.bus_gain_limit},
            offset_a=ina_facts.INA260_OFFSET_LIMIT_A,
            lsb_a=ina_facts.INA260_LSB_A,
            offset_v=self.facts.bus_offset_limit_v,
            lsb_v=self.facts.bus_lsb_v,
        )

    def read(self) -> Reading:
        """Return the newest conversion, or a stale mark."""
        flags = 0
        if self.readiness is Readiness.FLAG:
            status = self.read_word(_MASK_ENABLE)
            if not ina.mask_enable_is_ready(status):
                return STALE_READING
            flags = FRESH | (OVERFLOW if ina.mask_enable_is_overflow(status) else 0)
        raw_current = self.read_word(_CURRENT)
        raw_bus = self.read_word(_BUS)
        if raw_current in _FULL_SCALE or raw_bus & 0x7FFF == 0x7FFF:
            flags |= SATURATED
        current_a = ina.ina260_current_a(raw_current)
        voltage_v = ina.ina226_bus_v(raw_bus)
        return Reading(voltage_v * current_a, voltage_v, current_a, flags)
