"""Reads what edgetpu_compiler prints with ``-s``.

Format: the compiler's output as coral.ai/docs/edgetpu/compiler describes it and as versions 14.1 to 16.0 printed it in
published issues (google-coral/edgetpu 317, 358, 490, 829). What is not there is None: the compiler prints less when it
fails, and nobody promises the format.
"""

import re
from dataclasses import dataclass

from edgefleet_deploy.manifest import EdgeTpuOperatorStatus

MAPPED_STATUS = "Mapped to Edge TPU"

_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)", re.MULTILINE)
_ROW = re.compile(r"^(?P<name>[A-Za-z0-9_:-]+) +(?P<count>\d+) +(?P<status>\S.*?)\s*$", re.MULTILINE)
_TABLE_HEADER = re.compile(r"^Operator +Count +Status *$", re.MULTILINE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB)\b")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_FAILURES = ("internal compiler error", "compilation failed", "invalid model", "could not be parsed", "error:")


@dataclass(frozen=True)
class CompilerLog:
    """What the compiler said. errors: its lines that tell of a failure, in order."""

    version: str | None
    n_subgraphs: int | None
    n_mapped: int | None
    n_cpu: int | None
    on_chip_used_bytes: int | None
    on_chip_remaining_bytes: int | None
    off_chip_bytes: int | None
    operators: tuple[EdgeTpuOperatorStatus, ...]
    errors: tuple[str, ...]


def parse_compiler_log(text: str) -> CompilerLog:
    """Return what the output says; never raises."""
    version = _VERSION.search(text)
    operators = _read_table(text)
    return CompilerLog(
        version=None if version is None else version[1],
        n_subgraphs=_number(text, "Number of Edge TPU subgraphs"),
        n_mapped=_count(text, "Number of operations that will run on Edge TPU", operators, mapped=True),
        n_cpu=_count(text, "Number of operations that will run on CPU", operators, mapped=False),
        on_chip_used_bytes=_size_bytes(text, "On-chip memory used for caching model parameters"),
        on_chip_remaining_bytes=_size_bytes(text, "On-chip memory remaining for caching model parameters"),
        off_chip_bytes=_size_bytes(text, "Off-chip memory used for streaming uncached model parameters"),
        operators=operators,
        errors=tuple(line.strip() for line in text.splitlines() if any(word in line.lower() for word in _FAILURES)),
    )


def _read_table(text: str) -> tuple[EdgeTpuOperatorStatus, ...]:
    header = _TABLE_HEADER.search(text)
    if header is None:
        return ()
    return tuple(
        EdgeTpuOperatorStatus(
            name=row["name"], n_operators=int(row["count"]), status=row["status"], mapped=row["status"] == MAPPED_STATUS
        )
        for row in _ROW.finditer(text, header.end())
        if int(row["count"])
    )


def _value(text: str, label: str) -> str | None:
    found = re.search(rf"^{re.escape(label)}: *(\S.*?)\s*$", text, re.MULTILINE)
    return None if found is None else found[1]


def _number(text: str, label: str) -> int | None:
    value = _value(text, label)
    return int(value) if value is not None and value.isdecimal() else None


def _count(text: str, label: str, operators: tuple[EdgeTpuOperatorStatus, ...], *, mapped: bool) -> int | None:
    """Return the stated number; a fully mapped network has no such line, but the table says as much."""
    stated = _number(text, label)
    if stated is not None or not operators:
        return stated
    return sum(row.n_operators for row in operators if row.mapped is mapped)


def _size_bytes(text: str, label: str) -> int | None:
    found = _SIZE.fullmatch(_value(text, label) or "")
    return None if found is None else round(float(found[1]) * _UNITS[found[2]])
