"""What a compress, compile or analyse step may use, by the settings."""

import math
import os

from edgefleet_controller.engine.child_process import MAX_FILE_BYTES, ChildLimits
from edgefleet_controller.engine.memory_watch import default_limit_bytes
from edgefleet_controller.settings import Settings


def step_limits(settings: Settings, file_size_bytes: int = MAX_FILE_BYTES) -> ChildLimits:
    """Time, CPU time of its threads over all of that time, memory and file size; and no network."""
    n_threads = settings.step_threads or os.cpu_count() or 1
    return ChildLimits(
        timeout_s=settings.step_timeout_s,
        cpu_s=math.ceil(settings.step_timeout_s * n_threads),
        resident_bytes=settings.step_memory_bytes or default_limit_bytes(),
        file_size_bytes=file_size_bytes,
    )
