"""One owner per chip: reading a ready flag clears it, so two pollers would steal conversions from each other."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Optional

from edgefleet_agent.sensors.errors import PermissionDenied, SensorInUse


class ChipClaim:
    """A lock on one address of one bus for this host; the kernel releases it when its holder ends (flock(2))."""

    def __init__(self, place: str, folder: Optional[Path] = None) -> None:
        """Take the claim; raises ``SensorInUse`` or ``PermissionDenied``."""
        path = (folder or Path(tempfile.gettempdir())) / "edgefleet-sensor-{}.lock".format(place)
        try:
            self._descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except PermissionError as error:
            text = "another account owns the lock file {}; use the chip from one account only, or remove it"
            raise PermissionDenied(text.format(path), sensor=place) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise SensorInUse(sensor=place) from error

    def release(self) -> None:
        """Give the chip back."""
        os.close(self._descriptor)
