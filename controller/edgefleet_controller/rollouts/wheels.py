"""What a file says it is: a wheel of the agent, and of which version."""

import re
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from edgefleet_controller.rollouts.errors import WheelRefused

DISTRIBUTION = "edgefleet-agent"
MAX_METADATA_BYTES = 1024 * 1024
_VERSION = re.compile("[0-9][0-9A-Za-z.+!_]{0,63}")
_METADATA = re.compile(r"edgefleet_agent-[^/]{1,64}\.dist-info/METADATA")


def wheel_version(path: Path) -> str:
    """The version in the wheel's metadata (the core metadata of PyPA, in PKG-INFO form).

    WheelRefused if it is no wheel of edgefleet-agent for every platform.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            named = [name for name in archive.namelist() if _METADATA.fullmatch(name)]
            if len(named) != 1:
                raise WheelRefused
            if archive.getinfo(named[0]).file_size > MAX_METADATA_BYTES:
                raise WheelRefused("The wheel's METADATA is longer than a mebibyte.")
            text = archive.read(named[0]).decode()
            has_package = "edgefleet_agent/__init__.py" in archive.namelist()
    except (zipfile.BadZipFile, OSError, UnicodeError, NotImplementedError, RuntimeError, EOFError) as err:
        raise WheelRefused(f"The file is no readable wheel: {err}.") from err
    fields = HeaderParser().parsestr(text, headersonly=True)
    version = fields.get("Version", "")
    if re.sub("[-_.]+", "-", fields.get("Name", "")).lower() != DISTRIBUTION or not has_package:
        raise WheelRefused
    if _VERSION.fullmatch(version) is None or not named[0].startswith(f"edgefleet_agent-{version}."):
        raise WheelRefused(f"The wheel's version {version[:80]!r} is none, or not that of its folder {named[0]}.")
    return version


def wheel_name(version: str) -> str:
    """The file's name that boards install it under."""
    return f"edgefleet_agent-{version}-py3-none-any.whl"
