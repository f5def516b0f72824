"""``edgefleet run``, ``file`` and ``status``."""

from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import console, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

run_app = typer.Typer(no_args_is_help=True, help="Runs of artifacts on boards: list, show.")
file_app = typer.Typer(no_args_is_help=True, help="Files of the store by their SHA-256: put, get.")
COLUMNS = (
    Column("id"),
    Column("kind"),
    Column("state"),
    Column("device_id", "device"),
    Column("job_id", "job"),
    Column("attempt"),
    Column("phase"),
    Column("created_at", "queued"),
    Column("finished_at", "ended"),
    Column("error_code", "error", read=lambda run: (run["error"] or {}).get("code")),
)


@run_app.command("ls")
def list_runs(
    job: Annotated[str | None, typer.Option(help="Only runs of this job.")] = None,
    device: Annotated[str | None, typer.Option(help="Only runs of this device (name or identifier).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Runs to show, newest first.")] = 50,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the newest runs."""
    with reported_errors(), open_client(url, data_dir) as client:
        device_id = client.device(device)["id"] if device is not None else None
        found = client.runs(job=job, device=device_id, limit=limit)
    print_list(found, COLUMNS, json_output=json_output, csv_output=csv_output)


@run_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="Identifier of the run.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show one run with its order and checks, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.run(run))


@file_app.command("put")
def put(
    file: Annotated[Path, typer.Argument(help="The file; one that broke off goes on where it ended.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Store a file and print its SHA-256."""
    if not file.is_file():
        fail("file_missing", f"{file} is not a file")
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(client.upload(file), markup=False)


@file_app.command("get")
def get(
    sha256: Annotated[str, typer.Argument(help="SHA-256 of the file, such as samples_sha256 of a result.")],
    out: Annotated[Path, typer.Option(help="Where to write it.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Fetch a stored file; it is checked against its hash."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(str(client.download_file(sha256, out)), markup=False)


def status(
    metrics: Annotated[bool, typer.Option("--metrics", help="Print the controller's metrics instead.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say whether the controller is ready, and what its boards and workers do."""
    with reported_errors(), open_client(url, data_dir) as client:
        if metrics:
            console.print(client.metrics(), markup=False, end="")
            return
        ready, devices, workers = client.readiness(), client.devices(), client.workers()
    counts = {
        "boards": len(devices),
        "boards_online": sum(bool(device["online"]) for device in devices),
        "workers_active": sum(worker["state"] == "active" for worker in workers),
    }
    if json_output:
        print_json({"url": client.url, "ready": ready, **counts})
        return
    console.print(f"{client.url} is ready", markup=False)
    print_table(("", ""), [(name.replace("_", " "), value) for name, value in counts.items()])
