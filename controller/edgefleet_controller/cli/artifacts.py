"""``edgefleet artifact``: check a file, fetch one from the controller, wrap one for a serving system."""

import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    console,
    fail,
    print_json,
    print_table,
    reported_errors,
)
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client, ClientError
from edgefleet_deploy.bundle import write_bundle
from edgefleet_deploy.edgetpu_checker import EdgeTpuReport, check_edgetpu
from edgefleet_deploy.errors import DeployError
from edgefleet_deploy.manifest import ArtifactManifest
from edgefleet_deploy.targets import TARGETS, get_target

artifact_app = typer.Typer(no_args_is_help=True, help="Files for boards: check, fetch, bundle.")

SHA256 = re.compile("[0-9a-f]{64}")
MANIFEST_NAME = "manifest.json"
REFERENCE_HELP = "sha256 of an artifact, or JOB/VARIANT."

MAX_FILE_BYTES = 2 << 30
"""FlatBuffers hold no more (flatbuffers.dev, 32-bit offsets)."""


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


@artifact_app.command("get")
def get(
    reference: Annotated[str, typer.Argument(help=REFERENCE_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for the file and its manifest.json; made if it is not there.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Fetch a compiled file with its manifest."""
    with reported_errors(), open_client(url, data_dir) as client:
        path = _fetch(client, reference, out)
    console.print(f"{path} and {path.with_name(MANIFEST_NAME)}", markup=False)


@artifact_app.command("bundle")
def bundle(
    reference: Annotated[str, typer.Argument(help=REFERENCE_HELP)],
    out: Annotated[Path, typer.Option(help="Folder for the model repository; made if it is not there.")],
    name: Annotated[str, typer.Option(help="Name under which the model is served.")] = "model",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write an ONNX artifact as a model repository of the KServe and Triton protocol."""
    with reported_errors(), open_client(url, data_dir) as client, tempfile.TemporaryDirectory() as folder:
        path = _fetch(client, reference, Path(folder))
        manifest = ArtifactManifest.model_validate_json(path.with_name(MANIFEST_NAME).read_bytes())
        try:
            written = write_bundle(path, manifest, out, name=name)
        except DeployError as err:
            fail(err.code, err.message)
    console.print(f"{written}", markup=False)


def _fetch(client: Client, reference: str, folder: Path) -> Path:
    sha256 = find_artifact(client, reference)
    manifest = client.manifest(sha256)
    folder.mkdir(parents=True, exist_ok=True)
    path = client.download_artifact(sha256, folder / manifest["file_name"])
    path.with_name(MANIFEST_NAME).write_text(json.dumps(manifest, indent=2) + "\n")
    return path


def find_artifact(client: Client, reference: str) -> str:
    """The sha256 that a hash or JOB/VARIANT names; ClientError ``unknown_artifact`` where there is none."""
    if SHA256.fullmatch(reference):
        return reference
    job, _, variant = reference.partition("/")
    rows = {row["name"]: row for row in client.results(job)}
    sha256 = rows.get(variant, {}).get("artifact_sha256")
    if sha256 is None:
        raise ClientError(
            "unknown_artifact", f"{job} has no compiled variant {variant!r}; it has {', '.join(sorted(rows)) or 'none'}"
        )
    return str(sha256)


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
