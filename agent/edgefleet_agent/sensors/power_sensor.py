"""What every power sensor offers: a reading, its traits, and a check that it still runs as configured."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Protocol, Union

FRESH = 1
"""The chip said that this conversion is new."""
STALE = 2
"""The chip said that there is no new conversion; the figures are NaN."""
SATURATED = 4
"""The shunt or bus reading stands at full scale."""
OVERFLOW = 8
"""The chip reported an arithmetic overflow."""
FAILED = 16
"""The transfer failed; the figures are NaN."""
TIMED_OUT = 32
"""The transfer failed because the bus hung (set together with FAILED)."""
WAS_RESET = 64
"""The configuration read back was not the one written: the chip was reset since the last good check."""
VERIFIED = 128
"""The configuration was read back and was right."""

SCOPES = ("wall_ac", "board_5v_input", "module_input", "pmic_rails", "cpu_package", "battery")
"""What a sensor sees; figures of unlike scope are never compared."""

Scalar = Union[str, int, float, bool, None]


class Reading(NamedTuple):
    """One look at the sensor. Without FRESH and STALE the sensor cannot tell whether the conversion is new."""

    power_w: float
    voltage_v: float = math.nan
    current_a: float = math.nan
    flags: int = 0
    energy_j: float = math.nan
    """Energy counted by the sensor itself since an arbitrary start, where it does so."""


STALE_READING = Reading(math.nan, flags=STALE)


@dataclass(frozen=True)
class PowerLimits:
    """Largest errors of a power reading, each the half-width of a rectangular distribution.

    ``gains`` are relative, by source (shunt amplifier, resistor, bus voltage).
    """

    gains: Mapping[str, float] = field(default_factory=dict)
    offset_a: float = 0.0
    lsb_a: float = 0.0
    offset_v: float = 0.0
    lsb_v: float = 0.0
    offset_w: float = 0.0
    lsb_w: float = 0.0


@dataclass(frozen=True)
class SensorTraits:
    """What the estimator must know of a sensor.

    ``cycle_s`` is the longest time between two new conversions, ``averaging_s`` the time the current was really
    looked at in one cycle, ``lag_s`` the distance from the middle of that time to the moment the result appears.
    ``limits`` is ``None`` where nobody states the accuracy: then no uncertainty is stated either.
    """

    chip: str
    scope: str
    cycle_s: float
    averaging_s: float
    lag_s: float
    limits: Optional[PowerLimits] = None
    counts_energy: bool = False
    detail: Mapping[str, Scalar] = field(default_factory=dict)
    provenance: str = "measured"

    def __post_init__(self) -> None:
        """Refuse an unknown scope and impossible times."""
        if self.scope not in SCOPES:
            raise ValueError("scope {!r} is none of {}".format(self.scope, ", ".join(SCOPES)))
        if self.cycle_s <= 0 or self.averaging_s < 0 or self.lag_s < 0:
            raise ValueError("times of a sensor are not negative and its cycle is not zero")


class PowerSensor(Protocol):
    """A source of power readings."""

    @property
    def traits(self) -> SensorTraits:
        """Times, accuracy and settings of the sensor as configured."""
        ...

    def configure(self) -> None:
        """Write the settings and check that they arrived; raises a coded ``SensorError``."""
        ...

    def read(self) -> Reading:
        """Return the newest conversion; raises a coded ``SensorError`` when the transfer fails."""
        ...

    def verify(self) -> None:
        """Raise ``SensorReset`` unless the sensor still runs as configured."""
        ...

    def close(self) -> None:
        """Release the sensor."""
        ...
