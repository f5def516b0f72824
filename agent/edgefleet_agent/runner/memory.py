"""Memory of this process by phase, from /proc/self (Linux)."""

from typing import Dict, Optional

RESET_PEAK = "5"
"""Written to /proc/self/clear_refs it resets VmHWM (kernel >= 4.0, Documentation/filesystems/proc.rst)."""


def reset_peak() -> bool:
    """Reset the high-water mark; False where the kernel does not let us."""
    try:
        with open("/proc/self/clear_refs", "w") as handle:
            handle.write(RESET_PEAK)
    except OSError:
        return False
    return True


def resident_bytes() -> "Optional[int]":
    """Resident set size now."""
    return _read("/proc/self/status").get("VmRSS")


def peak_bytes() -> "Optional[int]":
    """High-water mark of the resident set size since the last reset."""
    return _read("/proc/self/status").get("VmHWM")


def proportional_bytes() -> "Optional[int]":
    """Proportional set size: shared pages are divided among their users (kernel >= 4.14)."""
    return _read("/proc/self/smaps_rollup").get("Pss")


def _read(path: str) -> "Dict[str, int]":
    """Fields in kB, as bytes; empty where the file isn't readable."""
    try:
        with open(path) as handle:
            lines = handle.read().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {parts[0].rstrip(":"): int(parts[1]) * 1024 for parts in fields if len(parts) == 3 and parts[2] == "kB"}
