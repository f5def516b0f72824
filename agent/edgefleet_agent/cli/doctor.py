import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgefleet_agent.cli.energy import configured_sensors
from edgefleet_agent.inventory import EMULATOR, Inventory, take_inventory
from edgefleet_agent.measure.coral import accelerators, describe_accelerators
from edgefleet_agent.measure.environment import THIS_HOST, Roots, read_conditions
from edgefleet_agent.sensors.selftest import describe_sensors
from edgefleet_agent.sensors.spec import SensorSpec
from edgefleet_agent.settings import load_settings, state_directory

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, how it is, and what to do about it."""

    subject: str
    level: str
    text: str
    advice: str = ""


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; 1 when something keeps this board from measuring at all, else 0."""
    settings = load_settings(state_directory(options.state_dir), {"sensors": options.sensors})
    findings = examine(take_inventory(settings), THIS_HOST, configured_sensors(settings.sensors))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print("\n".join(map(_line, findings)))
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def _line(finding: Finding) -> str:
    advice = "\n          -> " + finding.advice if finding.advice else ""
    return "{}  {}: {}{}".format(MARKS[finding.level], finding.subject, finding.text, advice)


def examine(inventory: Inventory, roots: Roots, configured: Sequence[SensorSpec] = ()) -> Sequence[Finding]:
    """All findings about this board."""
    return [
        _board(inventory),
        *_emulation(inventory),
        *_jetson(inventory),
        *_runtimes(inventory),
        _frequency(roots),
        _peak_memory(Path("/proc/self/clear_refs")),
        _temperature(roots),
        *_accelerators(inventory, roots),
        *_sensors(configured),
    ]


def _board(inventory: Inventory) -> Finding:
    facts = inventory.facts
    text = "{} ({}, {} cores, {:.1f} GiB, {}); agent {}, Python {}".format(
        facts.board,
        facts.cpu_model,
        facts.n_cores,
        facts.memory_bytes / 1024**3,
        facts.system,
        facts.agent_version,
        sys.version.split()[0],
    )
    return Finding("board", "ok", text)


def _jetson(inventory: Inventory) -> list[Finding]:
    labels = inventory.facts.labels
    if "l4t" not in labels:
        return []
    jetpack = labels.get("jetpack")
    if jetpack is None:
        advice = "install it for CUDA and TensorRT: apt-get install nvidia-jetpack"
        return [
            Finding("jetson", "warning", "Jetson Linux {}; no package nvidia-jetpack".format(labels["l4t"]), advice)
        ]
    return [Finding("jetson", "ok", "Jetson Linux {}, JetPack {}".format(labels["l4t"], jetpack))]


def _emulation(inventory: Inventory) -> list[Finding]:
    if not inventory.is_emulated:
        return []
    text = "this board is emulated ({})".format(inventory.facts.labels[EMULATOR])
    advice = "runs show that files load and give the right outputs; their times are never results"
    return [Finding("emulation", "warning", text, advice)]


def _runtimes(inventory: Inventory) -> list[Finding]:
    found = [
        Finding(
            "runtime " + item.name,
            "ok",
            "{} in {} (Python {}{})".format(
                item.version, item.interpreter, item.python_version, ", through " + item.driver if item.driver else ""
            ),
        )
        for item in inventory.facts.runtimes
    ]
    missing = [
        Finding(
            "runtime " + item.runtime,
            "warning",
            "not usable with {}: {}".format(item.interpreter, item.message),
            "install it there, or name another interpreter for it in agent.json under interpreters",
        )
        for item in inventory.failures
    ]
    if found:
        return found + missing
    advice = "install one: pip install 'edgefleet-agent[onnxruntime]'"
    return [*missing, Finding("runtimes", "problem", "none is usable, so nothing can be measured", advice)]


def _frequency(roots: Roots) -> Finding:
    governors = read_conditions(roots).governors
    if not governors:
        text = "not visible (virtual host, or no cpufreq driver)"
        return Finding("cpufreq", "warning", text, "a changed frequency can't be noticed; prefer a physical host")
    if governors == ["performance"]:
        return Finding("cpufreq", "ok", "governor performance")
    advice = "set the performance governor for figures that repeat: cpupower frequency-set -g performance"
    return Finding("cpufreq", "warning", "governor {}".format(", ".join(governors)), advice)


def _peak_memory(path: Path) -> Finding:
    try:
        with path.open("w") as handle:
            handle.write("5")
    except OSError as err:
        advice = "peaks will be null; run the agent where a process may write its own clear_refs (kernel >= 4.0)"
        return Finding("clear_refs", "warning", "the memory peak can't be reset ({})".format(err.strerror), advice)
    return Finding("clear_refs", "ok", "the memory peak can be reset")


def _temperature(roots: Roots) -> Finding:
    zones = read_conditions(roots).temperatures_c
    if not zones:
        return Finding("temperature", "warning", "no thermal zone is readable", "overheating can't be noticed here")
    return Finding("temperature", "ok", ", ".join("{} {:.1f} C".format(*zone) for zone in zones.items()))


def _accelerators(inventory: Inventory, roots: Roots) -> list[Finding]:
    missing = inventory.interpreter_for("edgetpu") is None
    return [
        Finding(item.subject, item.level, item.text, item.advice)
        for item in describe_accelerators(accelerators(roots), runtime_missing=missing)
    ]


def _sensors(configured: Sequence[SensorSpec]) -> list[Finding]:
    """Power sensors, tested; no trouble of theirs keeps the board from measuring the rest."""
    return [
        Finding(item.subject, "warning" if item.level == "problem" else item.level, item.text, item.advice)
        for item in describe_sensors(configured)
    ]
