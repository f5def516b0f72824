from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness
from edgefleet_agent.sensors.power_sensor import FRESH, OVERFLOW, SATURATED, STALE_READING, Reading

_SHUNT, _BUS, _MASK_ENABLE = 0x01, 0x02, 0x06
_FULL_SCALE = (0x7FFF, 0x8000)


class Ina226(InaChip):
    """INA226 by its raw shunt and bus registers (SBOS547B).

    Reading register 06 consumes the ready flag CVRF, so only this object may read it.
    """

    facts = ina_facts.INA226

    def config_word(self) -> int:
        """Return the configuration: shunt and bus continuous."""
        return ina.ina226_config(self.settings)

    def read(self) -> Reading:
        """Return the newest conversion, or a stale mark."""
        flags = 0
        if self.readiness is Readiness.FLAG:
            status = self.read_word(_MASK_ENABLE)
            if not ina.mask_enable_is_ready(status):
                return STALE_READING
            flags = FRESH | (OVERFLOW if ina.mask_enable_is_overflow(status) else 0)
        raw_shunt = self.read_word(_SHUNT)
        raw_bus = self.read_word(_BUS)
        if raw_shunt in _FULL_SCALE or raw_bus & 0x7FFF == 0x7FFF:
            flags |= SATURATED
        current_a = ina.ina226_shunt_v(raw_shunt) / self.wiring.shunt_ohm
        voltage_v = ina.ina226_bus_v(raw_bus)
        return Reading(voltage_v * current_a, voltage_v, current_a, flags)
