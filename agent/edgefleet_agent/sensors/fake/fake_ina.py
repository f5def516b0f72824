"""The conversion engine of the fake INA chips: what the ADC does between two register reads."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import numpy as np

from edgefleet_agent.sensors.fake.waveforms import Waveform
from edgefleet_agent.sensors.ina_facts import ChipFacts, InaSettings

POWER_DOWN_RECOVERY_NS = 40_000
"""Time from leaving power-down to the first conversion (INA219 SBOS448G 7.5, INA226 SBOS547B 6.5)."""


@dataclass(frozen=True)
class Load:
    """What one channel feeds: a power drawn at a constant bus voltage."""

    waveform: Waveform
    voltage_v: float = 5.0


@dataclass(frozen=True)
class ChipErrors:
    """How this copy of the chip deviates from its data sheet; ``clock`` lengthens every conversion by that share."""

    shunt_gain: float = 0.0
    shunt_offset_v: float = 0.0
    bus_gain: float = 0.0
    bus_offset_v: float = 0.0
    clock: float = 0.0


class Configuration(NamedTuple):
    """A decoded configuration register."""

    settings: InaSettings
    channels: tuple[int, ...]
    is_running: bool
    is_continuous: bool


class Codes(NamedTuple):
    """Register contents (as ADC codes, not yet shifted) per channel for some conversions."""

    shunt: Mapping[int, Any]
    bus: Mapping[int, Any]


class FakeIna(ABC):
    """A chip that converts continuously under an injected time; subclasses add registers and codes of one kind.

    Time zero of the waveforms is ``epoch_ns``. ``shunt_ohm`` is the true resistance. At ``reset_at_ns`` the chip
    falls back to its power-on state, once.
    """

    facts: ChipFacts

    def __init__(
        self,
        loads: Mapping[int, Load],
        shunt_ohm: float,
        *,
        errors: ChipErrors = ChipErrors(),
        epoch_ns: int = 0,
        reset_at_ns: Optional[int] = None,
    ) -> None:
        self.loads = loads
        self.shunt_ohm = shunt_ohm
        self.errors = errors
        self.epoch_ns = epoch_ns
        self.reset_at_ns = reset_at_ns
        self.registers: dict[int, int] = {}
        self._coded = 0
        self._power_on(epoch_ns)

    # what a kind of chip adds -------------------------------------------------------------------------------------

    def power_on_registers(self) -> dict[int, int]:
        """Return the reset values of the writable and identification registers."""
        return {
            self.facts.config_register: self.facts.reset_config,
            **{identity.register: identity.value for identity in self.facts.identity},
        }

    @abstractmethod
    def decode_config(self, word: int) -> Configuration:
        """Return what a configuration word asks for."""

    @abstractmethod
    def shunt_code(self, voltage_v: Any) -> Any:
        """Return the clamped ADC code for a shunt voltage."""

    @abstractmethod
    def bus_code(self, voltage_v: Any) -> Any:
        """Return the clamped ADC code for a bus voltage."""

    # the bus side -------------------------------------------------------------------------------------------------

    def read(self, register: int, now_ns: int) -> int:
        """Return a register as an unsigned number."""
        self._pass_time(now_ns)
        return self.registers.get(register, 0)

    def write(self, register: int, value: int, now_ns: int) -> None:
        """Write a register; writing the configuration restarts the conversion and clears the ready flag."""
        self._pass_time(now_ns)
        self.registers[register] = value
        if register == self.facts.config_register:
            self._restart(now_ns, value)

    # the engine ---------------------------------------------------------------------------------------------------

    @property
    def cycle_ns(self) -> float:
        """True time from one result to the next."""
        return len(self.config.channels) * self._pair_ns * self.facts.averages[self.config.settings.average_code]

    def cycles_done(self, now_ns: Any) -> Any:
        """Return how many results are complete since the configuration was written."""
        if not self.config.is_running:
            return np.zeros_like(now_ns)
        done = np.floor((np.asarray(now_ns, dtype=np.float64) - self.started_ns) / self.cycle_ns)
        done = np.maximum(done, 0)
        return (done if self.config.is_continuous else np.minimum(done, 1)).astype(np.int64)

    def codes_of_cycles(self, cycles: Any) -> Codes:
        """Return the codes of results number ``cycles`` (1 = the first), in closed form."""
        shunt, bus = {}, {}
        for position, channel in enumerate(self.config.channels):
            load = self.loads.get(channel)
            if load is None:
                shunt[channel] = self.shunt_code(np.full(np.shape(cycles), self.errors.shunt_offset_v))
                bus[channel] = self.bus_code(np.zeros(np.shape(cycles)))
                continue
            current_a = self._mean_power_w(load, np.asarray(cycles), position) / load.voltage_v
            shunt_v = current_a * self.shunt_ohm * (1 + self.errors.shunt_gain) + self.errors.shunt_offset_v
            bus_v = load.voltage_v * (1 + self.errors.bus_gain) + self.errors.bus_offset_v
            shunt[channel] = self.shunt_code(shunt_v)
            bus[channel] = self.bus_code(np.full(np.shape(cycles), bus_v))
        return Codes(shunt, bus)

    @property
    def is_ready(self) -> bool:
        """Whether a result is complete that nobody acknowledged."""
        return self._done > self._acknowledged

    def acknowledge(self) -> None:
        """Clear the ready flag."""
        self._acknowledged = self._done

    @property
    def codes(self) -> Codes:
        """The codes of the newest result."""
        if self._done > self._coded:
            self._latched, self._coded = self.codes_of_cycles(self._done), self._done
        return self._latched

    @property
    def elapsed_s(self) -> float:
        """Waveform time at the end of the newest result."""
        return float(self.started_ns - self.epoch_ns + self._done * self.cycle_ns) * 1e-9

    @property
    def _pair_ns(self) -> float:
        times_us, settings = self.facts.conversion_us, self.config.settings
        pair_us = times_us[settings.shunt_code] + times_us[settings.bus_code]
        return pair_us * 1e3 * (1 + self.errors.clock)

    def _mean_power_w(self, load: Load, cycles: Any, position: int) -> Any:
        settings = self.config.settings
        n_averages = self.facts.averages[settings.average_code]
        shunt_s = self.facts.conversion_us[settings.shunt_code] * 1e-6 * (1 + self.errors.clock)
        offset_ns = (self.started_ns - self.epoch_ns) + position * self._pair_ns
        rounds_ns = np.arange(n_averages) * (len(self.config.channels) * self._pair_ns)
        starts_s = (((cycles - 1) * self.cycle_ns)[..., None] + offset_ns + rounds_ns) * 1e-9
        return load.waveform.energy_j(starts_s, starts_s + shunt_s).sum(axis=-1) / (n_averages * shunt_s)

    def _pass_time(self, now_ns: int) -> None:
        if self.reset_at_ns is not None and now_ns >= self.reset_at_ns:
            self._power_on(self.reset_at_ns)
            self.reset_at_ns = None
        self._done = int(self.cycles_done(now_ns))

    def _power_on(self, now_ns: int) -> None:
        self.registers = self.power_on_registers()
        self.config = self.decode_config(self.facts.reset_config)
        self._begin(now_ns)

    def _restart(self, now_ns: int, word: int) -> None:
        was_running = self.config.is_running
        self.config = self.decode_config(word)
        recovers = self.config.is_running and not was_running
        self._begin(now_ns + (POWER_DOWN_RECOVERY_NS if recovers else 0))

    def _begin(self, start_ns: int) -> None:
        self.started_ns = start_ns
        self._done = 0
        self._acknowledged = 0
        self._coded = 0
        empty = dict.fromkeys((1, 2, 3), 0)
        self._latched = Codes(empty, empty)


def rounded(value: Any, lowest: int, highest: int) -> Any:
    """Return the nearest code inside the converter's range."""
    if isinstance(value, float):
        return min(max(math.floor(value + 0.5), lowest), highest)
    return np.clip(np.floor(np.asarray(value) + 0.5), lowest, highest).astype(np.int64)
