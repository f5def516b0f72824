"""The parameters of the simulated boards, each with its source and how sure it is; read from ``boards.json``."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Optional

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.simulate.operators import Kind, Precision

PARAMETER_FILE = Path(__file__).with_name("boards.json")

Confidence = Literal["checked", "fitted", "derived", "not verified", "guess"]
"""checked: read in the source. fitted: to published latencies. derived: arithmetic on published figures.
not verified: from memory. guess: nobody published it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parameter(_Frozen):
    """A number with its unit and where it comes from."""

    value: float = Field(ge=0)
    unit: str
    confidence: Confidence
    source: str = Field(min_length=1)


class Roofline(_Frozen):
    """Rates of one precision. Rates count a multiply-accumulate as two operations."""

    rates_gops: Mapping[Literal["dense", "depthwise", "conv3x3"], Parameter] = Field(min_length=3)
    operator_us: Parameter
    weights_gb_s: Parameter
    activations_gb_s: Parameter

    def rate_per_s(self, kind: Kind) -> float:
        """Operations per second of a kind that computes."""
        return self.rates_gops[kind.value].value * 1e9  # type: ignore[index]  # elementwise has no rate


class Power(_Frozen):
    """Power at the place of the sensor."""

    idle_w: Parameter
    busy_w: Parameter


class Thermal(_Frozen):
    """First-order heating towards ambient + power * resistance, and a throttled clock above a temperature."""

    ambient_c: Parameter
    resistance_c_per_w: Parameter
    resistance_uncooled_c_per_w: Parameter
    time_constant_s: Parameter
    throttle_c: Parameter
    throttled_share: Parameter


class Sensor(_Frozen):
    """The fake power sensor."""

    kind: str
    scope: str
    shunt_ohm: Parameter
    shunt_limit: Parameter
    voltage_v: Parameter


class Board(_Frozen):
    """One board. ``roofline`` is null for a precision it cannot compute.

    ``cache_bytes`` and ``spill_gb_s``: weights beyond the accelerator's memory are fetched anew for every inference.
    """

    description: str
    machine: str
    cpu_model: str
    n_cores: int
    memory_bytes: int
    has_throttled_bits: bool
    roofline: Mapping[Literal["fp32", "int8"], Optional[Roofline]] = Field(min_length=2)
    fixed_ms: Parameter
    cache_bytes: Optional[Parameter]
    spill_gb_s: Optional[Parameter]
    power: Power
    thermal: Thermal
    frequency_khz: Parameter
    sensor: Sensor
    load_mb_s: Parameter

    def roofline_of(self, precision: Precision) -> Optional[Roofline]:
        """The rates of a precision, or None where the board cannot compute it."""
        return self.roofline[precision.value]


class Noise(_Frozen):
    """How single latencies scatter; factors on the roofline's latency."""

    jitter_sigma: Parameter
    tail_share: Parameter
    tail_low: Parameter
    tail_high: Parameter
    warmup_factor: Parameter
    warmup_inferences: Parameter
    first_factor: Parameter


class Parameters(_Frozen):
    """The whole file."""

    version: Literal[1]
    boards: Mapping[str, Board]
    noise: Noise


class Loaded(NamedTuple):
    """The parameters and the SHA-256 of the file: the version that every simulated report states."""

    parameters: Parameters
    sha256: str


@cache
def load_parameters() -> Loaded:
    """The packaged parameters."""
    content = PARAMETER_FILE.read_bytes()
    return Loaded(Parameters.model_validate_json(content), hashlib.sha256(content).hexdigest())


def board_named(name: str) -> Board:
    """The board of that kind; raises SettingsInvalid listing the known ones."""
    boards = load_parameters().parameters.boards
    if name not in boards:
        raise SettingsInvalid("no board {!r} can be simulated; known are {}".format(name, ", ".join(boards)))
    return boards[name]
