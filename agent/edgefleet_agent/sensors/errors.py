"""Errors of the power sensors.

SensorError                 (an AgentError)
|-- SensorMissing        nothing answers at this address or path
|   `-- BusMissing       there is no such I2C bus
|-- WrongChip            something else answers, or the bytes are swapped
|-- AddressClaimed       a kernel driver holds the address
|-- SensorInUse          another process polls the same chip
|-- PermissionDenied     the account may not open the bus or the file
|-- BusFault             the transfer failed
|   `-- BusTimeout       the bus hung
|-- SensorReset          the chip lost its configuration
|-- ReadingInvalid       the text or number read is not what the interface promises
`-- SensorUnusable       the sensor exists but cannot measure energy now
"""

from edgefleet_agent.errors import AgentError


class SensorError(AgentError):
    """The power sensor cannot be used; ``edgefleet-agent doctor`` says what is wrong with it."""

    code = "sensor_error"

    def __init__(self, message: str = "", *, sensor: str = "") -> None:
        text = message or (type(self).__doc__ or "").strip()
        super().__init__("{}: {}".format(sensor, text) if sensor else text)
        self.sensor = sensor


class SensorMissing(SensorError):
    """Nothing answers here; check the wiring, the supply of the chip and its address."""

    code = "sensor_missing"


class BusMissing(SensorMissing):
    """There is no such I2C bus; enable it (on a Raspberry Pi: dtparam=i2c_arm=on) and load i2c-dev."""


class WrongChip(SensorError):
    """Another chip answers at this address; correct the kind or the address in the sensor's settings."""

    code = "wrong_chip"


class AddressClaimed(SensorError):
    """A kernel driver holds this address; read the chip through hwmon, or unbind the driver."""

    code = "address_claimed"


class SensorInUse(SensorError):
    """Another process polls this chip, and reading its ready flag would steal conversions; stop that process."""

    code = "sensor_in_use"


class PermissionDenied(SensorError):
    """The agent's account may not read this; add it to the group that owns the file (i2c for /dev/i2c-*)."""

    code = "permission_denied"


class BusFault(SensorError):
    """A transfer failed; check the wiring and the pull-ups, and shorten the cable."""

    code = "sensor_loss"


class BusTimeout(BusFault):
    """The bus hung; a device holds the clock low: power-cycle the sensor and check for a second master."""

    code = "bus_timeout"


class SensorReset(SensorError):
    """The chip lost its configuration in mid-run, as after a brown-out; check its supply and repeat the run."""

    code = "sensor_reset"


class ReadingInvalid(SensorError):
    """What was read is not what the interface promises; the file may be of another unit or driver version."""

    code = "reading_invalid"


class SensorUnusable(SensorError):
    """The sensor is there but cannot measure energy now, such as a battery gauge on external power."""

    code = "sensor_unusable"
