from edgefleet_agent.sampler import SamplerFailed, SamplerSettings
from edgefleet_agent.sensors.clock import Clock
from edgefleet_agent.sensors.errors import SensorError
from edgefleet_agent.sensors.fake.clock import VirtualClock
from edgefleet_agent.sensors.opening import open_sensor
from edgefleet_agent.sensors.ranging import sensible_period_s
from edgefleet_agent.sensors.recording import Recording, recording_from_ring
from edgefleet_agent.sensors.ring import SampleRing, ring_bytes
from edgefleet_agent.sensors.sampling import sample
from edgefleet_agent.sensors.spec import SensorSpec


class VirtualSampler:
    """The sampling process of a board whose time is virtual: drivers and loop are the real ones.

    What would have been sampled since the start is computed at ``stop``, with a clock of its own, so that sampling
    takes no time of the board. Raises what ``SamplerProcess`` raises.
    """

    def __init__(self, spec: SensorSpec, settings: SamplerSettings, board_clock: Clock) -> None:
        self._board_clock = board_clock
        self._clock = VirtualClock(board_clock.now_ns())
        self._ring = SampleRing(bytearray(ring_bytes(settings.capacity)), settings.capacity)
        try:
            self._sensor = open_sensor(spec, self._clock)
            self._sensor.configure()
        except SensorError as error:
            raise SamplerFailed(error.code, str(error)) from error
        self._period_s = sensible_period_s(spec, self._sensor.traits, settings.period_s)

    def stop(self) -> Recording:
        """Sample from the start until the board's present time."""
        end_ns, period_ns = self._board_clock.now_ns(), round(self._period_s * 1e9)
        sample(
            self._sensor,
            self._ring,
            self._clock,
            period_ns=period_ns,
            should_stop=lambda: self._clock.now_ns() >= end_ns,
        )
        return recording_from_ring(self._ring, self._sensor.traits, self._period_s)

    def close(self) -> None:
        """Release the sensor."""
        self._sensor.close()
