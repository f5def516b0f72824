"""``edgefleet import-profile``."""

from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.output import console, fail, print_json, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.imports.formats import FORMATS

FORMATS_HELP = "Format of the file: {}.".format("; ".join(f"{one.name} ({one.how})" for one in FORMATS.values()))


def import_profile(
    file: Annotated[Path, typer.Argument(help="The file that the other tool wrote.")],
    format_name: Annotated[str, typer.Option("--format", help=FORMATS_HELP)],
    model: Annotated[str, typer.Option(help="Registered model that was measured (name or identifier).")],
    device_name: Annotated[str, typer.Option(help="Name for the device it was measured on; no board of the fleet.")],
    name: Annotated[
        str | None, typer.Option(help="What was measured, such as resnet50-fp16; default: imported.")
    ] = None,
    board: Annotated[str | None, typer.Option(help="Kind of that device, such as jetson-orin-nano.")] = None,
    target: Annotated[str | None, typer.Option(help="What it was compiled for, such as tensorrt.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Samples per inference; default: 1.")] = None,
    accuracy: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Accuracy that its owner states, from 0 to 1.")
    ] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Keep figures that another tool measured beside one's own: marked as imported, and in no front unless asked for."""
    if not file.is_file():
        fail("file_missing", f"{file} is not a file")
    with reported_errors(), open_client(url, data_dir) as client:
        imported = client.import_profile(
            file,
            format=format_name,
            model=model,
            device_name=device_name,
            name=name,
            board=board,
            target=target,
            batch=batch,
            accuracy=accuracy,
        )
    if json_output:
        print_json(imported)
        return
    row = imported["row"]
    p50 = row["latency_ms"]["p50"]
    said = (
        "too few inferences for a median"
        if p50 is None
        else f"median {p50:.4g} ms of {row['latency_ms']['n']} inferences"
    )
    console.print(f"Imported {row['name']} on {row['device_name']}: {said}", markup=False)
    console.print(f"Next: edgefleet results {imported['job']}", markup=False)
