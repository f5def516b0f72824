"""What this board is and can do: its kind, its cores and memory, the runtimes found by asking child interpreters."""

import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import psutil

from edgefleet_agent.measure.child_process import child_environment
from edgefleet_agent.measure.coral import coral_labels, has_coral_usb
from edgefleet_agent.measure.emulation import find_emulator
from edgefleet_agent.measure.environment import THIS_HOST, Roots, cpu_model, operating_system, read_text
from edgefleet_agent.measure.jetson import jetson_labels
from edgefleet_agent.measure.runner_archive import write_runner_archive
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime
from edgefleet_agent.settings import AGENT_VERSION, AgentSettings, read_fact_files
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.messages import DeviceFacts, RuntimeFacts

PROBE_TIMEOUT_S = 60.0
"""Importing a runtime from a cold SD card takes tens of seconds."""

LINUX_HOST = "linux-host"

EMULATOR = "emulator"
"""Label of a board that is emulated: the emulator's name, or ``unknown``."""

BOARD_MODELS: Sequence[tuple[str, str]] = (
    ("Raspberry Pi 5", "raspberry-pi-5"),
    ("Raspberry Pi 4", "raspberry-pi-4"),
    ("Raspberry Pi 3", "raspberry-pi-3"),
    ("Raspberry Pi Zero 2", "raspberry-pi-zero-2"),
    ("Orin Nano", "jetson-orin-nano"),
    ("Jetson Nano", "jetson-nano"),
    ("Phanbell", "coral-dev-board"),
    ("Coral", "coral-dev-board"),
)
"""Words of /proc/device-tree/model -> board kind; ``Phanbell`` is the device tree's name of the Coral Dev Board."""

PROBE = (
    "import importlib, json, platform, sys\n"
    "facts = importlib.import_module(sys.argv[1]).probe()\n"
    "print('EDGEFLEET ' + json.dumps(dict(facts, python=platform.python_version())))\n"
)


@dataclass(frozen=True)
class ProbeFailure:
    """Why a runtime can't be used with an interpreter."""

    runtime: str
    interpreter: str
    message: str


@dataclass(frozen=True)
class Inventory:
    """The facts for the controller, and the runtimes that were looked for in vain."""

    facts: DeviceFacts
    failures: tuple[ProbeFailure, ...]

    @property
    def is_emulated(self) -> bool:
        """Is this board emulated, so that its times are no results?"""
        return EMULATOR in self.facts.labels

    def interpreter_for(self, runtime: str) -> Optional[str]:
        """The interpreter that holds the runtime, or None."""
        return next((item.interpreter for item in self.facts.runtimes if item.name == runtime), None)


def take_inventory(settings: AgentSettings, roots: Roots = THIS_HOST, sensors: Sequence[JsonObject] = ()) -> Inventory:
    """Look at the board and probe the runtimes; takes seconds."""
    found, failures = probe_runtimes(settings.interpreters)
    emulator = find_emulator(roots) or ("unknown" if settings.emulated else None)
    noticed = {
        **coral_labels(roots),
        **({EMULATOR: emulator} if emulator is not None else {}),
        **jetson_labels(),
    }
    left_here = read_fact_files(Path(settings.facts_dir) if settings.facts_dir else None)
    facts = DeviceFacts(
        agent_version=AGENT_VERSION,
        board=settings.board or detect_board(roots),
        hostname=socket.gethostname(),
        machine=platform.machine(),
        system="{}, Linux {}".format(operating_system(Path("/etc/os-release")), platform.release()),
        cpu_model=cpu_model(roots),
        n_cores=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        runtimes=found,
        sensors=list(sensors),
        labels={**left_here, **settings.labels, **noticed},
    )
    return Inventory(facts, tuple(failures))


def facts_sha256(facts: DeviceFacts) -> str:
    """Hash of the facts in canonical JSON, by which the controller notices a change."""
    canonical = json.dumps(facts.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def detect_board(roots: Roots) -> str:
    """Board kind from the device tree; a host with a Coral USB accelerator is ``coral-usb``, any other a linux-host."""
    model = read_text(roots.proc / "device-tree/model") or ""
    known = next((kind for words, kind in BOARD_MODELS if words in model), None)
    return known or ("coral-usb" if has_coral_usb(roots) else LINUX_HOST)


def probe_runtimes(
    interpreters: Mapping[str, str], runtimes: Mapping[str, Runtime] = RUNTIMES
) -> tuple[list[RuntimeFacts], list[ProbeFailure]]:
    """Ask an interpreter per runtime (the pinned one, else the agent's own, else the system's) to import it."""
    found: list[RuntimeFacts] = []
    failures: list[ProbeFailure] = []
    with tempfile.TemporaryDirectory(prefix="edgefleet-probe-") as folder:
        archive = write_runner_archive(Path(folder) / "runner.zip")
        for runtime in runtimes.values():
            answers = (probe_runtime(runtime, path, archive) for path in candidates(runtime.name, interpreters))
            best, misses = _choose(answers)
            if best is None:
                failures.extend(misses)
            else:
                found.append(best)
    return found, failures


def _choose(answers: Iterable[Union[RuntimeFacts, ProbeFailure]]) -> tuple[Optional[RuntimeFacts], list[ProbeFailure]]:
    """The first interpreter that holds the runtime, else the first that can run it through a program; asks no further."""
    misses: list[ProbeFailure] = []
    through_program: Optional[RuntimeFacts] = None
    for answer in answers:
        if isinstance(answer, ProbeFailure):
            misses.append(answer)
        elif answer.driver is None:
            return answer, misses
        else:
            through_program = through_program or answer
    return through_program, misses


def candidates(runtime: str, interpreters: Mapping[str, str]) -> list[str]:
    """Interpreters to ask for a runtime; a pinned one is the only one."""
    if runtime in interpreters:
        return [interpreters[runtime]]
    system = "/usr/bin/python3"
    return [sys.executable] + ([system] if Path(system).exists() else [])


def probe_runtime(runtime: Runtime, interpreter: str, archive: Path) -> Union[RuntimeFacts, ProbeFailure]:
    """Import the runtime's backend in the interpreter and read its version."""
    try:
        answer = subprocess.run(
            [interpreter, "-c", PROBE, runtime.backend],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
            env=child_environment(os.environ, [archive]),
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return ProbeFailure(runtime.name, interpreter, "can't be started: {}".format(err))
    line = next((text for text in answer.stdout.splitlines() if text.startswith("EDGEFLEET ")), None)
    if line is None:
        return ProbeFailure(runtime.name, interpreter, (answer.stderr.strip().splitlines() or ["no answer"])[-1])
    facts: JsonObject = json.loads(line.partition(" ")[2])
    return RuntimeFacts(
        name=runtime.name,
        version=facts["version"],
        interpreter=interpreter,
        python_version=facts["python"],
        providers=facts["providers"],
        driver=facts.get("driver"),
    )


SERIAL_FILES = (Path("/proc/device-tree/serial-number"), Path("/sys/class/dmi/id/product_serial"))
"""Where Linux names the board's serial number: the device tree of ARM boards, or DMI (readable by root only)."""


def read_serial(files: Sequence[Path] = SERIAL_FILES) -> Optional[str]:
    """The board's serial number; None where it has none that can be read."""
    for path in files:
        try:
            text = path.read_bytes()[:256].decode(errors="replace").strip("\0 \n")
        except OSError:
            continue
        if text:
            return text[:128]
    return None
