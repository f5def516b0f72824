"""One owner per chip: reading a ready flag clears it, so two pollers would steal conversions from each other."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Optional

from edgefleet_agent.sensors.errors import SensorInUse


class ChipClaim:
    """A lock on one address of one bus for this host; the kernel releases it when its holder ends (flock(2))."""

    def __init__(self, place: str, folder: Optional[Path] = None) -> None:
        """Take the claim; raises ``SensorInUse``."""
        path = (folder or Path(tempfile.gettempdir())) / "edgefleet-sensor-{}.lock".format(place)
        self._descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise SensorInUse(sensor=place) from error

    def release(self) -> None:
        """Give the chip back."""
        os.close(self._descriptor)
