"""Kind of chip -> driver."""

from edgefleet_agent.sensors.ina219 import Ina219
from edgefleet_agent.sensors.ina226 import Ina226
from edgefleet_agent.sensors.ina228 import Ina228
from edgefleet_agent.sensors.ina260 import Ina260
from edgefleet_agent.sensors.ina3221 import Ina3221
from edgefleet_agent.sensors.ina_sensor import InaChip

INA_DRIVERS: dict[str, type[InaChip]] = {
    "ina219": Ina219,
    "ina226": Ina226,
    "ina228": Ina228,
    "ina260": Ina260,
    "ina3221": Ina3221,
}
