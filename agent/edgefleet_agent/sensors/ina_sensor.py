"""What the I2C drivers of TI's INA chips share: identification, configuration, read-back, traits."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Optional

from edgefleet_agent.sensors import ina, ina_facts
from edgefleet_agent.sensors.bus import I2CBus, chip_place
from edgefleet_agent.sensors.errors import SensorReset, WrongChip
from edgefleet_agent.sensors.ina_facts import ChipFacts, InaSettings
from edgefleet_agent.sensors.power_sensor import PowerLimits, Reading, Scalar, SensorTraits
from edgefleet_agent.sensors.shunt import ShuntCalibration


class Readiness(str, Enum):
    """How a driver finds new conversions."""

    FLAG = "flag"
    """Ask the chip's ready flag before every read; one transfer more, every conversion counted exactly once."""
    TIMED = "timed"
    """Read without asking; new conversions are told by value and time."""


@dataclass(frozen=True)
class Wiring:
    """Where a chip sits and what it sees. ``channels`` are summed (INA3221); other chips have channel 1 only."""

    address: int
    scope: str
    shunt: Optional[ShuntCalibration] = None
    channels: tuple[int, ...] = (1,)

    @property
    def shunt_ohm(self) -> float:
        """The calibrated resistance of the external shunt."""
        if self.shunt is None:
            raise ValueError("the shunt of the chip at 0x{:02x} is not known; give its resistance".format(self.address))
        return self.shunt.resistance_ohm


class InaChip(ABC):
    """A configured chip. A driver of one kind adds the configuration word and ``read``."""

    facts: ChipFacts

    def __init__(
        self, bus: I2CBus, wiring: Wiring, settings: InaSettings, *, readiness: Readiness = Readiness.FLAG
    ) -> None:
        if wiring.address not in self.facts.addresses:
            raise ValueError("{} cannot have address 0x{:02x}".format(self.facts.name, wiring.address))
        self.bus = bus
        self.wiring = wiring
        self.settings = settings
        self.readiness = readiness
        self.traits = self._make_traits()

    @property
    def place(self) -> str:
        """Chip and address for messages, such as ``ina226 at 1-0040``."""
        return "{} at {}".format(self.facts.name, chip_place(self.bus, self.wiring.address))

    @abstractmethod
    def config_word(self) -> int:
        """Return the configuration register for the settings."""

    def canary_word(self) -> int:
        """Return what the canary register holds while the chip was not reset."""
        return self.facts.canary_value

    def identify(self) -> None:
        """Raise ``WrongChip`` unless the identification registers are right (INA219 has none)."""
        for identity in self.facts.identity:
            found = self.read_word(identity.register)
            if found & identity.mask != identity.value:
                raise WrongChip(_wrong_identity(identity, found), sensor=self.place)

    def configure(self) -> None:
        """Write canary and configuration, then read both back; writing the configuration restarts the conversion."""
        self.identify()
        self.write_word(self.facts.canary_register, self.canary_word())
        self.write_word(self.facts.config_register, self.config_word())
        found = self.read_word(self.facts.config_register)
        if found != self.config_word():
            raise WrongChip(_wrong_read_back(self.config_word(), found), sensor=self.place)

    def verify(self) -> None:
        """Raise ``SensorReset`` unless configuration and canary still stand as written."""
        for register, expected in (
            (self.facts.config_register, self.config_word()),
            (self.facts.canary_register, self.canary_word()),
        ):
            found = self.read_word(register)
            if found != expected:
                text = "register 0x{:02x} reads 0x{:04x}, written was 0x{:04x}: the chip was reset; check its supply"
                raise SensorReset(text.format(register, found, expected), sensor=self.place)

    @abstractmethod
    def read(self) -> Reading:
        """Return the newest conversion, or a stale mark."""

    def read_word(self, register: int) -> int:
        """Return a 16-bit register of this chip."""
        return self.bus.read_word_be(self.wiring.address, register)

    def write_word(self, register: int, value: int) -> None:
        """Write a 16-bit register of this chip."""
        self.bus.write_word_be(self.wiring.address, register, value)

    def close(self) -> None:
        """Release the bus."""
        self.bus.close()

    def _make_traits(self) -> SensorTraits:
        n_channels = len(self.wiring.channels)
        return SensorTraits(
            chip=self.facts.name,
            scope=self.wiring.scope,
            cycle_s=ina.cycle_s(self.facts, self.settings, n_channels=n_channels),
            averaging_s=ina.looking_s(self.facts, self.settings),
            lag_s=ina.lag_s(self.facts, self.settings, n_channels=n_channels),
            limits=self.power_limits(),
            detail=self._detail(),
        )

    def power_limits(self) -> PowerLimits:
        """Return the data sheet's limits at 25 C with those of the shunt."""
        facts, shunt_ohm, n = self.facts, self.wiring.shunt_ohm, len(self.wiring.channels)
        tolerance = self.wiring.shunt.relative_limit if self.wiring.shunt else 0.0
        return PowerLimits(
            gains={"shunt_voltage": facts.shunt_gain_limit, "resistance": tolerance, "voltage": facts.bus_gain_limit},
            offset_a=n * facts.shunt_offset_limits_v[self.settings.gain_code] / shunt_ohm,
            lsb_a=n**0.5 * facts.shunt_lsb_v / shunt_ohm,
            offset_v=facts.bus_offset_limit_v,
            lsb_v=facts.bus_lsb_v,
        )

    def _detail(self) -> dict[str, Scalar]:
        shunt, settings = self.wiring.shunt, self.settings
        return {
            "bus": self.bus.name,
            "address": self.wiring.address,
            "channels": ",".join(str(channel) for channel in self.wiring.channels),
            "shunt_ohm": shunt.resistance_ohm if shunt else None,
            "shunt_limit": shunt.relative_limit if shunt else None,
            "shunt_source": shunt.source if shunt else None,
            "shunt_conversion_us": self.facts.conversion_us[settings.shunt_code],
            "bus_conversion_us": self.facts.conversion_us[settings.bus_code],
            "n_averages": self.facts.averages[settings.average_code],
            "full_scale_v": self.facts.shunt_full_scale_v[settings.gain_code],
            "readiness": self.readiness.value,
        }


def _wrong_identity(identity: ina_facts.Identity, found: int) -> str:
    text = "register 0x{:02x} reads 0x{:04x}, expected 0x{:04x}; ".format(identity.register, found, identity.value)
    if _swapped(found) & identity.mask == identity.value:
        return text + "the bytes are swapped: the bus adapter must turn SMBus words round"
    return text + "another chip answers here: correct the kind or the address"


def _wrong_read_back(written: int, found: int) -> str:
    text = "the configuration was written as 0x{:04x} and reads 0x{:04x}; ".format(written, found)
    if _swapped(found) == written:
        return text + "the bytes are swapped: the bus adapter must turn SMBus words round"
    return text + "another chip answers here, or the transfers are disturbed"


def _swapped(word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8
