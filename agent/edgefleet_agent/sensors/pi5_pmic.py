"""The rails of the Raspberry Pi 5's power management chip, as its firmware reports them.

It sees neither USB devices on the 5 V rail nor its own losses: scope ``pmic_rails``, never comparable with
``board_5v_input``.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable

from edgefleet_agent.sensors.errors import PermissionDenied, ReadingInvalid, SensorMissing
from edgefleet_agent.sensors.power_sensor import Reading, SensorTraits

_LINE = re.compile(r"\s*(\w+)_([AV])\s+(current|volt)\(\d+\)=([0-9.]+)([AV])\s*")
COMMAND = ("vcgencmd", "pmic_read_adc")
TIMEOUT_S = 2.0
PERIOD_S = 0.1
"""A subprocess per reading: a 10 Hz sensor."""


@dataclass(frozen=True)
class PmicRail:
    """One rail; ``EXT5V`` and ``BATT`` have no current."""

    voltage_v: float
    current_a: float


def parse_pmic(text: str) -> Mapping[str, PmicRail]:
    """Return the rails with both voltage and current; raises ``ReadingInvalid`` where there are none.

    Lines look like ``VDD_CORE_A current(7)=1.54489000A`` and ``VDD_CORE_V volt(15)=0.88725180V``.
    """
    values: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match.group(2) != match.group(5):
            continue
        values[match.group(2)][match.group(1)] = float(match.group(4))
    rails = {
        label: PmicRail(values["V"][label], current_a)
        for label, current_a in values["A"].items()
        if label in values["V"]
    }
    if not rails:
        raise ReadingInvalid("vcgencmd pmic_read_adc gave no rails; this needs a Raspberry Pi 5", sensor="pi5_pmic")
    return rails


def total_power_w(rails: Mapping[str, PmicRail]) -> float:
    """Return the sum of V * A over the rails."""
    return sum(rail.voltage_v * rail.current_a for rail in rails.values())


def read_vcgencmd() -> str:
    """Return what the firmware says; raises a coded ``SensorError``."""
    try:
        finished = subprocess.run(COMMAND, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise SensorMissing("vcgencmd is not installed", sensor="pi5_pmic") from error
    except subprocess.TimeoutExpired as error:
        raise ReadingInvalid("vcgencmd gave no answer in {} s".format(TIMEOUT_S), sensor="pi5_pmic") from error
    if finished.returncode != 0:
        text = "vcgencmd failed ({}); add the account to the group video".format(finished.stderr.strip()[:80])
        raise PermissionDenied(text, sensor="pi5_pmic")
    return finished.stdout


class Pi5Pmic:
    """Sum of the PMIC's output rails. ``provider`` returns the text of ``vcgencmd pmic_read_adc``."""

    traits = SensorTraits(
        chip="pi5_pmic",
        scope="pmic_rails",
        cycle_s=PERIOD_S,
        averaging_s=0.0,  # how long the firmware's ADC looks is not published
        lag_s=0.0,
        limits=None,  # nor is its accuracy
        detail={"command": " ".join(COMMAND)},
    )

    def __init__(self, provider: Callable[[], str] = read_vcgencmd) -> None:
        self._provider = provider

    def configure(self) -> None:
        """Read once, to fail early."""
        self.read()

    def read(self) -> Reading:
        """Return the sum of the rails."""
        return Reading(total_power_w(parse_pmic(self._provider())))

    def verify(self) -> None:
        """Check nothing: there are no settings to lose."""

    def close(self) -> None:
        """Hold nothing."""
