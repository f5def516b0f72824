"""``edgefleet artifact``: look at files on this computer; no controller is asked."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.output import EXIT_FAILED, EXIT_USAGE, console, fail, print_json, print_table
from edgefleet_controller.cli.session import JsonOption
from edgefleet_deploy.edgetpu_checker import EdgeTpuReport, check_edgetpu
from edgefleet_deploy.errors import DeployError
from edgefleet_deploy.targets import TARGETS, get_target

artifact_app = typer.Typer(no_args_is_help=True, help="Files for boards: check one before it is compiled.")

MAX_FILE_BYTES = 2 << 30
"""FlatBuffers hold no more (flatbuffers.dev, 32-bit offsets)."""


@artifact_app.callback()
def group() -> None:
    """Keep ``check`` a command of its own, however few there are."""


@artifact_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A .tflite file that edgetpu_compiler has not compiled yet.")],
    target: Annotated[str, typer.Option(help="Target to check for: coral-usb or coral-dev-board.")],
    json_output: JsonOption = False,
) -> None:
    """Say whether a file would wholly map to an Edge TPU, and if not, which operators stay on the CPU and why.

    Exit status: 0 it would, 1 it would not, 2 the file or the target can't be checked.
    """
    try:
        report = _check(file, target)
    except DeployError as err:
        fail(err.code, err.message, status=EXIT_USAGE)
    except OSError as err:
        fail("file_unreadable", f"{file} can't be read ({err.strerror}); name an existing file", status=EXIT_USAGE)
    if json_output:
        print_json({"file": str(file), "target": target, **report.as_json()})
    else:
        _print(report, target)
    raise typer.Exit(0 if report.mapped else EXIT_FAILED)


def _check(file: Path, target: str) -> EdgeTpuReport:
    if get_target(target).runtime != "edgetpu":
        checked = ", ".join(name for name, known in sorted(TARGETS.items()) if known.runtime == "edgetpu")
        fail("no_checker", f"files for target {target} are not checked; checked are: {checked}", status=EXIT_USAGE)
    if file.stat().st_size > MAX_FILE_BYTES:
        fail("file_too_large", f"{file} has more than 2 GiB, which no .tflite file has", status=EXIT_USAGE)
    return check_edgetpu(file.read_bytes())


def _print(report: EdgeTpuReport, target: str) -> None:
    verdict = "maps wholly" if report.mapped else "does not wholly map"
    share = "unknown (no products)" if report.macs_share is None else f"{report.macs_share:.1%}"
    console.print(f"{verdict} to {target}: {report.n_mapped} of {report.n_operators} operators", markup=False)
    console.print(f"multiply-accumulates on the accelerator: {share} of {report.macs:,}", markup=False)
    rows = Counter((op.name, op.version, op.placement, op.code) for op in report.operators)
    print_table(
        ("operator", "version", "count", "placement", "code"),
        [(name, version, n, placement, code) for (name, version, placement, code), n in rows.items()],
    )
    for title, lines in (("Reasons", report.reasons), ("Not known for certain", report.warnings)):
        if lines:
            console.print(f"{title}:", markup=False)
        for line in lines:
            console.print(f"  {line}", markup=False)
