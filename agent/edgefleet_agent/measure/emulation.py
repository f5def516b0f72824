"""Is this program run by an emulator of its processor? What is timed under one says nothing about a board."""

import sys
import threading
from pathlib import Path
from typing import Optional

from edgefleet_agent.measure.environment import THIS_HOST, Roots
from edgefleet_agent.wire.reasons import Provenance, Reason, VerdictStatus
from edgefleet_agent.wire.report import RunReport, Verdict

ELF_MAGIC = b"\x7fELF"
MACHINE = slice(18, 20)
"""Place of e_machine in an ELF header; byte 5 tells the byte order, 1 little and 2 big (elf(5))."""


def find_emulator(roots: Roots = THIS_HOST, program: Path = Path(sys.executable)) -> Optional[str]:
    """Name of the user-mode emulator that runs this interpreter, such as qemu-aarch64-static; None where there is none.

    The kernel's link to what it really runs is compared with the interpreter: they are for two machines only under an
    emulator. A whole emulated computer, and an emulator of the host's own machine, can't be told from a real one.
    """
    # qemu answers for /proc/self/exe itself, but not for the same link below task/ (linux-user/syscall.c)
    real = roots.proc / "self/task/{}/exe".format(threading.get_native_id())
    machines = (elf_machine(real), elf_machine(program))
    if None in machines or machines[0] == machines[1]:
        return None
    try:
        return real.readlink().name or "unknown"
    except OSError:
        return "unknown"


def provenance_here() -> Provenance:
    """Provenance of what this process times."""
    return Provenance.MEASURED if find_emulator() is None else Provenance.EMULATED


def elf_machine(path: Path) -> Optional[int]:
    """e_machine of a program, such as 62 for x86-64 or 183 for aarch64; None where the file can't be read or is no ELF."""
    try:
        with path.open("rb") as handle:
            header = handle.read(MACHINE.stop)
    except OSError:
        return None
    if len(header) < MACHINE.stop or not header.startswith(ELF_MAGIC):
        return None
    return int.from_bytes(header[MACHINE], "little" if header[5] == 1 else "big")


def as_emulated(report: RunReport) -> RunReport:
    """The report of a run on an emulated board: its provenance says so, and its verdict bars its figures from use."""
    reasons = list(report.verdict.reasons)
    if report.error is None:
        reasons = [Reason.EMULATED, *reasons]
    verdict = Verdict(status=VerdictStatus.INVALID, reasons=reasons)
    return report.model_copy(update={"provenance": Provenance.EMULATED, "verdict": verdict})
