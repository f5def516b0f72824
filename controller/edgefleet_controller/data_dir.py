"""Where a controller keeps its things unless it is told."""

import os
from pathlib import Path


def default_data_dir() -> Path:
    """``$EDGEFLEET_HOME``, else ``~/.local/share/edgefleet``."""
    home = os.environ.get("EDGEFLEET_HOME")
    return Path(home) if home else Path.home() / ".local" / "share" / "edgefleet"
