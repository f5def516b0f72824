from dataclasses import dataclass


@dataclass(frozen=True)
class ShuntCalibration:
    """What is known of one shunt resistor.

    ``correction`` multiplies the printed value after a comparison with a better meter; ``relative_limit`` is the
    largest relative error left (half-width of a rectangular distribution), ``source`` says who found it.
    """

    nominal_ohm: float
    relative_limit: float = 0.01
    correction: float = 1.0
    source: str = "tolerance of the part"

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not 1e-5 <= self.nominal_ohm <= 100:
            raise ValueError("a shunt has 10 uOhm to 100 Ohm, not {} Ohm".format(self.nominal_ohm))
        if not 0.5 <= self.correction <= 2:
            raise ValueError("a correction of {} is no calibration; check the shunt's value".format(self.correction))
        if not 0 <= self.relative_limit < 0.5:
            raise ValueError("relative_limit is a fraction below 0.5, not {}".format(self.relative_limit))

    @property
    def resistance_ohm(self) -> float:
        """The calibrated resistance."""
        return self.nominal_ohm * self.correction
