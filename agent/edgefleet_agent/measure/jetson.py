"""Which release of NVIDIA's software a Jetson has: Jetson Linux (L4T) and JetPack."""

from pathlib import Path
from typing import Optional

from edgefleet_agent.measure.environment import read_text
from edgefleet_agent.runner.tensorrt_model import platform_release

ROOT = Path("/")
L4T_FILE = "etc/nv_tegra_release"
DPKG_STATUS = "var/lib/dpkg/status"
JETPACK_PACKAGE = "nvidia-jetpack"
"""Meta package of JetPack; boards flashed without the SDK lack it, and then JetPack's version is unknown."""


def jetson_labels(root: Path = ROOT) -> "dict[str, str]":
    """Labels ``l4t`` and ``jetpack``, such as R32.7.1 and 4.6.1-b110; none on other boards."""
    release = platform_release(str(root / L4T_FILE))
    jetpack = installed_version(root / DPKG_STATUS, JETPACK_PACKAGE)
    found = {"l4t": release, "jetpack": jetpack}
    return {name: value for name, value in found.items() if value is not None}


def installed_version(status: Path, package: str) -> Optional[str]:
    """Version of an installed package, from dpkg's status file (paragraphs of deb-control(5) fields)."""
    for paragraph in (read_text(status) or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == package and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version")
    return None
