"""Runs the vendor's edgetpu_compiler: found on PATH, never faked, never waited for without end."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from edgefleet_deploy.edgetpu_log import CompilerLog, parse_compiler_log
from edgefleet_deploy.edgetpu_model import read_tflite
from edgefleet_deploy.errors import CandidateRefused, CompilerFailed, CompilerUnavailable, DeployError

TOOL: Final = "edgetpu_compiler"
COMPILE_TIMEOUT_S: Final = 900.0
"""The compiler's own limit is 180 s for each attempt (its output, version 16); this one ends what hangs."""
HELP_TIMEOUT_S: Final = 60.0
LAST_WORDS: Final = 20
INSTALL_HINT: Final = (
    "edgetpu_compiler is not on PATH; it runs on x86-64 Debian only and comes from Google's package repository "
    "coral-edgetpu-stable (package edgetpu-compiler): install it on this host, or compile the .tflite file elsewhere"
)


@dataclass(frozen=True)
class CompiledNetwork:
    """The compiled file and what the compiler said."""

    payload: bytes
    log: CompilerLog


def find_tool() -> Path:
    """Return the compiler's path; CompilerUnavailable where it is not on PATH."""
    found = shutil.which(TOOL)
    if found is None:
        raise CompilerUnavailable(INSTALL_HINT)
    return Path(found)


def run_tool(
    tool: Path, payload: bytes, *, work_dir: Path, min_runtime_version: str, timeout_s: float = COMPILE_TIMEOUT_S
) -> CompiledNetwork:
    """Compile a .tflite file in an empty directory.

    Raises CompilerFailed (``compiler_failed``, ``compiler_internal_error``, ``compiler_timeout``), and CandidateRefused
    ``not_mappable`` where the compiler succeeds without mapping anything: such a file is no Edge TPU file.
    """
    source = work_dir / "model.tflite"
    source.write_bytes(payload)
    command = [str(tool), "-s", "-o", str(work_dir)]
    if _takes_min_runtime_version(tool):
        command += ["-m", min_runtime_version]
    status = _run([*command, str(source)], work_dir, timeout_s)
    log = parse_compiler_log(_read_output(work_dir))
    compiled = work_dir / "model_edgetpu.tflite"
    if status != 0 or not compiled.is_file():
        raise _failure(status, log, work_dir)
    content = compiled.read_bytes()
    if read_tflite(content).n_compiled_parts == 0:
        raise CandidateRefused(
            "edgetpu_compiler mapped no operator, so that everything would run on the CPU; change the operators that "
            "the detail names, or choose the target litert",
            code="not_mappable",
            detail={"statuses": {row.name: row.status for row in log.operators}},
        )
    return CompiledNetwork(content, log)


def _takes_min_runtime_version(tool: Path) -> bool:
    try:
        answer = subprocess.run(
            [str(tool), "--help"], capture_output=True, text=True, timeout=HELP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise CompilerFailed(
            f"{TOOL} --help did not end within {HELP_TIMEOUT_S:.0f} s", code="compiler_timeout"
        ) from err
    except OSError as err:
        raise CompilerFailed(f"{tool} can't be started ({err.strerror}); install it again") from err
    return "min_runtime_version" in answer.stdout + answer.stderr


def _run(command: list[str], work_dir: Path, timeout_s: float) -> int:
    """Return the exit status.

    The compiler stays in this step's process group, which the engine ends as a whole when a job is cancelled.
    """
    with _output_file(work_dir).open("wb") as output:
        process = subprocess.Popen(
            command, cwd=work_dir, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired as err:
            raise CompilerFailed(
                f"{TOOL} did not end within {timeout_s:.0f} s; a smaller network compiles faster",
                code="compiler_timeout",
                detail={"timeout_s": timeout_s, "output": _last_words(work_dir)},
            ) from err
        finally:
            if process.poll() is None:
                _end_family(process)


def _end_family(process: "subprocess.Popen[bytes]") -> None:
    """End the compiler and the child that it compiles in."""
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.kill()
    process.wait()


def _output_file(work_dir: Path) -> Path:
    return work_dir / "output.txt"


def _read_output(work_dir: Path) -> str:
    """Return what was printed, with the operation log where the table was not printed."""
    text = _output_file(work_dir).read_text(errors="replace")
    log = work_dir / "model_edgetpu.log"
    if log.is_file() and not parse_compiler_log(text).operators:
        text += "\n" + log.read_text(errors="replace")
    return text


def _last_words(work_dir: Path) -> list[str]:
    return _output_file(work_dir).read_text(errors="replace").splitlines()[-LAST_WORDS:]


def _failure(status: int, log: CompilerLog, work_dir: Path) -> DeployError:
    is_internal = any("internal compiler error" in line.lower() for line in log.errors)
    said = log.errors[0] if log.errors else "it said nothing of the cause"
    return CompilerFailed(
        f"{TOOL} {log.version or '(unknown version)'} ended with status {status} without a file: {said}",
        code="compiler_internal_error" if is_internal else "compiler_failed",
        detail={"exit_status": status, "errors": list(log.errors), "output": _last_words(work_dir)},
    )
