"""The state of the board around a run, from /proc, /sys and psutil. Unreadable values are absent, never guessed."""

import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import psutil

from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.report import Conditions

VCGENCMD_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Roots:
    """Where the kernel's file systems are; tests point this at a prepared tree."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")


THIS_HOST = Roots()


def read_conditions(roots: Roots = THIS_HOST) -> Conditions:
    """The conditions of this moment."""
    times = _cpu_times(roots)
    return Conditions(
        governors=sorted(set(_policy_values(roots, "scaling_governor"))),
        frequencies_khz=[int(text) for text in _policy_values(roots, "scaling_cur_freq") if text.isdigit()],
        temperatures_c=_temperatures(roots),
        load_average_1m=_load_average(roots),
        available_memory_bytes=_meminfo(roots).get("MemAvailable"),
        throttled_bits=_throttled_bits(roots),
        cpu_steal_s=times.get("steal"),
        cpu_busy_s=times.get("busy"),
        pressure_s=_pressure(roots),
        under_voltage_alarm=_under_voltage_alarm(roots),
        cooling=_cooling(roots),
        power_mode=_power_mode(),
        monotonic_ns=time.monotonic_ns(),
    )


def describe_host(roots: Roots = THIS_HOST) -> JsonObject:
    """What does not change during a run: CPU, cores, kernel, operating system, virtualisation."""
    return {
        "cpu_model": cpu_model(roots),
        "n_cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": operating_system(Path("/etc/os-release")),
        "memory_bytes": psutil.virtual_memory().total,
        "virtual": _is_virtual(roots),
        "cpufreq": bool(_policy_values(roots, "scaling_governor")),
        "python": platform.python_version(),
    }


def cpu_model(roots: Roots) -> str:
    """The CPU as the kernel names it: x86's model name, Arm's model or board line, else the architecture."""
    text = read_text(roots.proc / "cpuinfo") or ""
    fields = [line.partition(":") for line in text.splitlines()]
    named = {key.strip(): value.strip() for key, _, value in fields if value.strip()}
    return named.get("model name") or named.get("Model") or named.get("Hardware") or platform.machine() or "unknown"


def operating_system(release: Path) -> str:
    """PRETTY_NAME of os-release(5), else the kernel's name."""
    for line in (read_text(release) or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return platform.system()


def read_text(path: Path) -> Optional[str]:
    """The file's text without trailing white space, or None where it can't be read."""
    try:
        return path.read_text(errors="replace").rstrip("\0 \n\t")
    except OSError:
        return None


def _policy_values(roots: Roots, name: str) -> list[str]:
    folder = roots.sys / "devices/system/cpu/cpufreq"
    texts = [read_text(path / name) for path in sorted(folder.glob("policy*"))]
    return [text for text in texts if text]


def _temperatures(roots: Roots) -> dict[str, float]:
    """Thermal zones in degrees Celsius (the kernel gives millidegrees); zones of one type are numbered."""
    found: dict[str, float] = {}
    for zone in sorted((roots.sys / "class/thermal").glob("thermal_zone*")):
        raw, kind = read_text(zone / "temp"), read_text(zone / "type") or zone.name
        if raw is None or not raw.lstrip("-").isdigit():
            continue
        name = kind if kind not in found else "{} ({})".format(kind, zone.name)
        found[name] = int(raw) / 1000.0
    return found


def _load_average(roots: Roots) -> Optional[float]:
    text = read_text(roots.proc / "loadavg")
    return float(text.split()[0]) if text else None


def _meminfo(roots: Roots) -> dict[str, int]:
    lines = (line.split() for line in (read_text(roots.proc / "meminfo") or "").splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) * 1024 for parts in lines if len(parts) == 3}


def _cpu_times(roots: Roots) -> dict[str, float]:
    """Busy and stolen seconds since boot over all cores (proc(5): user nice system idle iowait irq softirq steal ...)."""
    parts = (read_text(roots.proc / "stat") or "").partition("\n")[0].split()
    if len(parts) < 9 or parts[0] != "cpu":
        return {}
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(value) * tick_s for value in parts[1:9])
    return {"busy": user + nice + system + irq + softirq, "steal": steal}


def _throttled_bits(roots: Roots) -> Optional[int]:
    """Raspberry Pi's get_throttled bits: from sysfs (raspberrypi-firmware driver), else from vcgencmd."""
    for path in sorted((roots.sys / "devices/platform/soc").glob("*firmware/get_throttled")):
        text = read_text(path)
        if text:
            return int(text, 16)
    program = shutil.which("vcgencmd")
    return _ask_vcgencmd(program) if program else None


def _pressure(roots: Roots) -> dict[str, float]:
    """Seconds in which some task waited for cpu, memory or io (Documentation/accounting/psi.rst; total is in us)."""
    found: dict[str, float] = {}
    for name in ("cpu", "memory", "io"):
        some = (read_text(roots.proc / "pressure" / name) or "").partition("\n")[0]
        total = some.rpartition("total=")[2]
        if some.startswith("some") and total.isdigit():
            found[name] = int(total) / 1e6
    return found


def _under_voltage_alarm(roots: Roots) -> Optional[bool]:
    """The Raspberry Pi firmware's alarm (drivers/hwmon/raspberrypi-hwmon.c: name rpi_volt, in0_lcrit_alarm)."""
    for chip in sorted((roots.sys / "class/hwmon").glob("hwmon*")):
        if read_text(chip / "name") == "rpi_volt":
            alarm = read_text(chip / "in0_lcrit_alarm")
            return None if alarm is None else alarm == "1"
    return None


def _cooling(roots: Roots) -> dict[str, int]:
    """State of every cooling device, such as a fan's step; 0 is off."""
    found: dict[str, int] = {}
    for device in sorted((roots.sys / "class/thermal").glob("cooling_device*")):
        state = read_text(device / "cur_state")
        if state is not None and state.isdigit():
            kind = read_text(device / "type") or device.name
            found[kind if kind not in found else "{} ({})".format(kind, device.name)] = int(state)
    return found


def _power_mode() -> Optional[str]:
    """The power mode of a Jetson as ``nvpmodel -q`` names it."""
    program = shutil.which("nvpmodel")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "-q"], capture_output=True, text=True, timeout=VCGENCMD_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None  # present, but it needs permission or another board
    lines = (line.rpartition(":")[2].strip() for line in answer.splitlines() if "Power Mode" in line)
    return next(lines, None)


def _ask_vcgencmd(program: str) -> Optional[int]:
    try:
        answer = subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_TIMEOUT_S, check=True
        ).stdout
        return int(answer.strip().rpartition("=")[2], 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # installed, but not on a Raspberry Pi or without permission


def _is_virtual(roots: Roots) -> bool:
    return " hypervisor" in (read_text(roots.proc / "cpuinfo") or "")
