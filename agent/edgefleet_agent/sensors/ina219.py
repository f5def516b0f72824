from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness
from edgefleet_agent.sensors.power_sensor import FRESH, OVERFLOW, SATURATED, STALE_READING, Reading

_SHUNT, _BUS, _POWER = 0x01, 0x02, 0x03


class Ina219(InaChip):
    """INA219 by its raw shunt and bus registers (SBOS448G).

    The data sheet contradicts itself on what clears the ready flag CNVR: 8.3.1 says reading the status, 8.6.3.2
    reading the power register. So every fresh conversion is followed by a read of the power register, and nothing
    depends on which rule holds.
    """

    facts = ina_facts.INA219

    def config_word(self) -> int:
        """Return the configuration: 32 V range, shunt and bus continuous."""
        return ina.ina219_config(self.settings)

    def read(self) -> Reading:
        """Return the newest conversion, or a stale mark."""
        raw_bus = self.read_word(_BUS)
        flags = OVERFLOW if ina.ina219_is_overflow(raw_bus) else 0
        if self.readiness is Readiness.FLAG:
            if not ina.ina219_is_ready(raw_bus):
                return STALE_READING
            flags |= FRESH
        raw_shunt = self.read_word(_SHUNT)
        if self.readiness is Readiness.FLAG:
            self.read_word(_POWER)
        return self._decode(raw_shunt, raw_bus, flags)

    def _decode(self, raw_shunt: int, raw_bus: int, flags: int) -> Reading:
        # the PGA clamps without setting OVF (table 7), so full scale is looked for here
        if abs(ina.signed(raw_shunt, 16)) >= ina.ina219_full_scale_code(self.settings.gain_code):
            flags |= SATURATED
        current_a = ina.ina219_shunt_v(raw_shunt) / self.wiring.shunt_ohm
        voltage_v = ina.ina219_bus_v(raw_bus)
        return Reading(voltage_v * current_a, voltage_v, current_a, flags)
