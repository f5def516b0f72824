from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.ina_sensor import InaChip, Readiness
from edgefleet_agent.sensors.power_sensor import FRESH, SATURATED, STALE_READING, Reading

_MASK_ENABLE = 0x0F
_FULL_SCALE = (0x7FF8, 0x8000)


class Ina3221(InaChip):
    """INA3221: the sum of the wanted channels, all with the same shunt value. It has no overflow flag."""

    facts = ina_facts.INA3221

    def config_word(self) -> int:
        """Return the configuration: the wanted channels, shunt and bus continuous."""
        return ina.ina3221_config(self.settings, self.wiring.channels)

    def read(self) -> Reading:
        """Return the newest conversion of all channels, or a stale mark. The voltage is the first channel's."""
        flags = 0
        if self.readiness is Readiness.FLAG:
            if not self.read_word(_MASK_ENABLE) & 1:
                return STALE_READING
            flags = FRESH
        power_w = current_a = 0.0
        voltages_v = []
        for channel in self.wiring.channels:
            raw_shunt = self.read_word(2 * channel - 1)
            voltage_v = ina.ina3221_bus_v(self.read_word(2 * channel))
            if raw_shunt in _FULL_SCALE:
                flags |= SATURATED
            channel_a = ina.ina3221_shunt_v(raw_shunt) / self.wiring.shunt_ohm
            power_w += voltage_v * channel_a
            current_a += channel_a
            voltages_v.append(voltage_v)
        return Reading(power_w, voltages_v[0], current_a, flags)
