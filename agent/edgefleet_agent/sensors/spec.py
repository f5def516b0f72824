"""Which sensor to use and what is known of it: from the agent's settings to the sampling process."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from edgefleet_agent.sensors.ina_facts import InaSettings
from edgefleet_agent.sensors.power_sensor import SCOPES
from edgefleet_agent.sensors.shunt import ShuntCalibration

INA_KINDS = ("ina219", "ina226", "ina228", "ina260", "ina3221")
SYSFS_KINDS = ("hwmon", "jetson", "rapl", "power_supply")
KINDS = (*INA_KINDS, *SYSFS_KINDS, "pi5_pmic", "replay")

_INTRINSIC_SCOPES = {
    "jetson": "module_input",
    "rapl": "cpu_package",
    "power_supply": "battery",
    "pi5_pmic": "pmic_rails",
}


@dataclass(frozen=True)
class SensorSpec:
    """A sensor's kind, place and calibration. ``fake`` asks for the fake chip with this waveform, see opening.py."""

    kind: str
    scope: str = ""
    bus: int = 1
    address: int = 0x40
    channels: tuple[int, ...] = (1,)
    shunt: Optional[ShuntCalibration] = None
    path: str = ""
    settings: Optional[InaSettings] = None
    readiness: str = "flag"
    fake: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check kind, scope, shunt and channels; fill in the scope where the kind has only one."""
        if self.kind not in KINDS:
            raise ValueError("unknown sensor {!r}; known are {}".format(self.kind, ", ".join(KINDS)))
        scope = self.scope or _INTRINSIC_SCOPES.get(self.kind, "board_5v_input")
        if scope not in SCOPES:
            raise ValueError("scope {!r} is none of {}".format(scope, ", ".join(SCOPES)))
        object.__setattr__(self, "scope", scope)
        if self.kind in INA_KINDS and self.kind != "ina260" and self.shunt is None:
            raise ValueError("{} needs its shunt's resistance, such as shunt=0.01".format(self.kind))
        if not self.channels or not set(self.channels) <= {1, 2, 3}:
            raise ValueError("channels are 1 to 3, not {}".format(self.channels))
        if self.kind in INA_KINDS and self.kind != "ina3221" and self.channels != (1,):
            raise ValueError("{} has one channel".format(self.kind))

    @property
    def is_ina(self) -> bool:
        """Whether this is a chip on I2C that our own driver configures."""
        return self.kind in INA_KINDS

    def to_json(self) -> str:
        """Return the spec as JSON text."""
        return json.dumps(asdict(self), sort_keys=True)


def spec_from_json(text: str) -> SensorSpec:
    """Return the spec of ``SensorSpec.to_json``; raises ValueError, KeyError or TypeError for another document."""
    fields = json.loads(text)
    shunt, settings = fields.pop("shunt", None), fields.pop("settings", None)
    channels = tuple(fields.pop("channels", (1,)))
    return SensorSpec(
        **fields,
        channels=channels,
        shunt=ShuntCalibration(**shunt) if shunt else None,
        settings=InaSettings(**settings) if settings else None,
    )


def parse_sensor(text: str) -> SensorSpec:
    """Return the spec of a person's line, such as ``ina226,bus=1,address=0x40,shunt=0.01,limit=0.005``.

    Keys: bus, address, shunt (Ohm), limit (relative limit of the shunt), correction, source, scope, path,
    channels (as 1+3), readiness (flag or timed). Raises ValueError with what is wrong.
    """
    kind, *parts = [part.strip() for part in text.split(",")]
    options: dict[str, str] = {}
    for part in parts:
        key, separator, value = part.partition("=")
        if not separator or key not in _OPTIONS:
            raise ValueError("{!r} is none of {}".format(part, ", ".join("{}=...".format(name) for name in _OPTIONS)))
        options[key] = value
    return SensorSpec(
        kind=kind,
        scope=options.get("scope", ""),
        bus=int(options.get("bus", "1")),
        address=int(options.get("address", "0x40"), 0),
        channels=tuple(int(channel) for channel in options.get("channels", "1").split("+")),
        shunt=_parse_shunt(options),
        path=options.get("path", ""),
        readiness=options.get("readiness", "flag"),
    )


_OPTIONS = ("bus", "address", "shunt", "limit", "correction", "source", "scope", "path", "channels", "readiness")


def _parse_shunt(options: Mapping[str, str]) -> Optional[ShuntCalibration]:
    if "shunt" not in options:
        return None
    return ShuntCalibration(
        nominal_ohm=float(options["shunt"]),
        relative_limit=float(options.get("limit", "0.01")),
        correction=float(options.get("correction", "1")),
        source=options.get("source", "tolerance of the part"),
    )
