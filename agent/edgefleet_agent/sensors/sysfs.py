"""Numbers in files that a kernel driver fills in at every read."""

import errno
import os
import re
from pathlib import Path

from edgefleet_agent.sensors.errors import BusFault, PermissionDenied, ReadingInvalid, SensorError, SensorMissing

_NUMBER = re.compile(r"\s*(-?\d+)(?:\s*m?[aAvVwW])?\s*")
"""Some vendor kernels append a unit, as in "1234 ma"."""


class SysfsNumber:
    """One file, kept open: a read at offset 0 makes the driver fetch a new value."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise sysfs_error(error, path) from error

    def read(self) -> int:
        """Return the number; raises a coded ``SensorError``."""
        try:
            content = os.pread(self._descriptor, 64, 0)
        except OSError as error:
            raise sysfs_error(error, self.path) from error
        return parse_number(content.decode("ascii", "replace"), self.path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def parse_number(text: str, path: Path) -> int:
    """Return the integer in a sysfs file; raises ``ReadingInvalid``."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ReadingInvalid("holds {!r}, which is no number".format(text[:40]), sensor=str(path))
    return int(match.group(1))


def read_number(path: Path) -> int:
    """Return the number in a file that does not change; raises a coded ``SensorError``."""
    return parse_number(read_text(path), path)


def read_text(path: Path) -> str:
    """Return the stripped text of a file; raises a coded ``SensorError``."""
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError as error:
        raise sysfs_error(error, path) from error


def sysfs_error(error: OSError, path: Path) -> SensorError:
    """Return the coded error of a failed access; the caller chains it with ``from``."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDenied(
            "may not be read by this account; give it read access with a udev rule or a group", sensor=str(path)
        )
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return SensorMissing("the kernel offers no such file; is the driver loaded?", sensor=str(path))
    return BusFault("could not be read ({})".format(error.strerror), sensor=str(path))
