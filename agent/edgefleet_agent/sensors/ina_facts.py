"""What TI's data sheets say of the INA power monitors: registers, times, units, limits.

Sources: INA219 SBOS448G (sections 7.5, 8.6), INA226 SBOS547B (6.5, 7.6), INA260 SBOS656C (7.5, 8.6), INA3221 SBOS576 /
SBOS776C (8.6), INA228 SLYS021A (7.6). "Not verified" stands where no copy could be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """A register that names the chip."""

    register: int
    mask: int
    value: int


@dataclass(frozen=True)
class ChipFacts:
    """What the data sheet says of one chip.

    ``conversion_us``: settings code -> nominal time of one conversion (or one average) of shunt or bus.
    ``averages``: settings code -> conversions averaged into one result.
    ``slow_factor``: longest conversion / nominal one.
    ``canary_register`` is written with ``canary_value`` so that a reset shows even when the settings in use equal
    the reset value of the configuration register.
    """

    name: str
    config_register: int
    reset_config: int
    identity: tuple[Identity, ...]
    addresses: range
    conversion_us: Mapping[int, float]
    averages: Mapping[int, int]
    slow_factor: float
    shunt_lsb_v: float
    bus_lsb_v: float
    shunt_gain_limit: float
    shunt_offset_limits_v: tuple[float, ...]
    bus_gain_limit: float
    bus_offset_limit_v: float
    shunt_full_scale_v: tuple[float, ...]
    canary_register: int
    canary_value: int


@dataclass(frozen=True)
class InaSettings:
    """Settings codes as they stand in the chip's configuration register. ``gain_code`` is INA219's PGA (0: 40 mV)."""

    shunt_code: int
    bus_code: int
    average_code: int = 0
    gain_code: int = 0


_TI = Identity(0xFE, 0xFFFF, 0x5449)

INA219 = ChipFacts(
    name="ina219",
    config_register=0x00,
    reset_config=0x399F,
    identity=(),
    addresses=range(0x40, 0x50),
    # table 5: 9 to 12 bits, then 2..128 averages of 12 bits; the longest is 586 us for a nominal 532 us (7.5)
    conversion_us={
        0: 84.0,
        1: 148.0,
        2: 276.0,
        3: 532.0,
        8: 532.0,
        9: 1060.0,
        10: 2130.0,
        11: 4260.0,
        12: 8510.0,
        13: 17020.0,
        14: 34050.0,
        15: 68100.0,
    },
    averages={0: 1},
    slow_factor=1.102,
    shunt_lsb_v=10e-6,
    bus_lsb_v=4e-3,
    shunt_gain_limit=0.005,
    shunt_offset_limits_v=(100e-6, 125e-6, 150e-6, 200e-6),
    bus_gain_limit=0.005,
    bus_offset_limit_v=0.0,
    shunt_full_scale_v=(0.04, 0.08, 0.16, 0.32),
    canary_register=0x05,
    canary_value=4096,
)

_INA2XX_TIMES_US = {0: 140.0, 1: 204.0, 2: 332.0, 3: 588.0, 4: 1100.0, 5: 2116.0, 6: 4156.0, 7: 8244.0}
_INA2XX_AVERAGES = {0: 1, 1: 4, 2: 16, 3: 64, 4: 128, 5: 256, 6: 512, 7: 1024}

INA226 = ChipFacts(
    name="ina226",
    config_register=0x00,
    reset_config=0x4127,
    identity=(_TI, Identity(0xFF, 0xFFF0, 0x2260)),
    addresses=range(0x40, 0x50),
    conversion_us=_INA2XX_TIMES_US,
    averages=_INA2XX_AVERAGES,
    slow_factor=1.1,
    shunt_lsb_v=2.5e-6,
    bus_lsb_v=1.25e-3,
    shunt_gain_limit=0.001,
    shunt_offset_limits_v=(10e-6,),
    bus_gain_limit=0.001,
    bus_offset_limit_v=7.5e-3,
    shunt_full_scale_v=(0.08192,),
    canary_register=0x05,
    canary_value=2048,
)

INA260_LSB_A = 1.25e-3
INA260_OFFSET_LIMIT_A = 5e-3
"""Current sense offset, +-5 mA at most (SBOS656C 7.5)."""

INA260 = ChipFacts(
    name="ina260",
    config_register=0x00,
    reset_config=0x6127,
    identity=(_TI, Identity(0xFF, 0xFFF0, 0x2270)),
    addresses=range(0x40, 0x50),
    conversion_us=_INA2XX_TIMES_US,
    averages=_INA2XX_AVERAGES,
    slow_factor=1.1,
    shunt_lsb_v=INA260_LSB_A * 2e-3,  # the 2 mOhm shunt is inside; the register gives current
    bus_lsb_v=1.25e-3,
    shunt_gain_limit=0.0015,  # system gain error with the shunt, SBOS656C 7.5
    shunt_offset_limits_v=(INA260_OFFSET_LIMIT_A * 2e-3,),
    bus_gain_limit=0.001,
    bus_offset_limit_v=7.5e-3,  # as INA226; not verified
    shunt_full_scale_v=(0.08192,),
    canary_register=0x07,  # alert limit; no alert function is enabled
    canary_value=0x2A5A,
)

INA3221 = ChipFacts(
    name="ina3221",
    config_register=0x00,
    reset_config=0x7127,
    identity=(_TI, Identity(0xFF, 0xFFFF, 0x3220)),
    addresses=range(0x40, 0x44),
    conversion_us=_INA2XX_TIMES_US,
    averages=_INA2XX_AVERAGES,
    slow_factor=1.1,
    shunt_lsb_v=40e-6,
    bus_lsb_v=8e-3,
    shunt_gain_limit=0.0025,
    shunt_offset_limits_v=(80e-6,),
    bus_gain_limit=0.0025,  # taken as the shunt's; not verified
    bus_offset_limit_v=8e-3,  # one LSB; not verified
    shunt_full_scale_v=(0.1638,),
    canary_register=0x07,  # critical limit of channel 1; its pin is not used
    canary_value=0x7FF0,
)

INA228 = ChipFacts(
    name="ina228",
    config_register=0x01,
    reset_config=0xFB68,
    identity=(Identity(0x3E, 0xFFFF, 0x5449), Identity(0x3F, 0xFFF0, 0x2280)),
    addresses=range(0x40, 0x50),
    conversion_us={0: 50.0, 1: 84.0, 2: 150.0, 3: 280.0, 4: 540.0, 5: 1052.0, 6: 2074.0, 7: 4120.0},
    averages=_INA2XX_AVERAGES,
    slow_factor=1.1,
    shunt_lsb_v=312.5e-9,
    bus_lsb_v=195.3125e-6,
    shunt_gain_limit=0.0005,  # not verified
    shunt_offset_limits_v=(1e-6,),  # not verified
    bus_gain_limit=0.0005,  # not verified
    bus_offset_limit_v=1e-3,  # not verified
    shunt_full_scale_v=(0.16384,),
    canary_register=0x02,  # SHUNT_CAL, needed for the energy counter
    canary_value=0,  # depends on the shunt, see ina228_shunt_cal
)
