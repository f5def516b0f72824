"""Heat of a simulated board: first order, with a throttled clock above a temperature."""

import math

from edgefleet_agent.simulate.parameters import Board

HYSTERESIS_C = 3.0
"""The clock is given back when the chip is this much below the throttling point. A guess."""


class Heat:
    """Temperature of the chip and whether it throttles; starts where idling has brought it."""

    def __init__(self, board: Board, *, is_cooled: bool) -> None:
        thermal = board.thermal
        resistance = thermal.resistance_c_per_w if is_cooled else thermal.resistance_uncooled_c_per_w
        self._ambient_c, self._resistance_c_per_w = thermal.ambient_c.value, resistance.value
        self._time_constant_s, self._throttle_c = thermal.time_constant_s.value, thermal.throttle_c.value
        self._throttled_share = thermal.throttled_share.value
        self.temperature_c = self._target_c(board.power.idle_w.value)
        self.is_throttled = self.was_throttled = False

    @property
    def speed(self) -> float:
        """Clock / rated clock."""
        return self._throttled_share if self.is_throttled else 1.0

    def pass_time(self, power_w: float, seconds: float) -> None:
        """Approach the temperature of this power exponentially; then decide about throttling."""
        target_c = self._target_c(power_w)
        self.temperature_c = target_c + (self.temperature_c - target_c) * math.exp(-seconds / self._time_constant_s)
        release_c = self._throttle_c - HYSTERESIS_C
        self.is_throttled = self.temperature_c >= (release_c if self.is_throttled else self._throttle_c)
        self.was_throttled |= self.is_throttled

    def _target_c(self, power_w: float) -> float:
        return self._ambient_c + self._resistance_c_per_w * power_w
