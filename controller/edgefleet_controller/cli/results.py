"""``edgefleet results`` and ``front``."""

from typing import Annotated

import typer

from edgefleet_controller.cli.jobs import JobArgument
from edgefleet_controller.cli.listing import Column, CsvOption, print_csv, print_list, refuse_two_forms
from edgefleet_controller.cli.output import console, print_json, reported_errors
from edgefleet_controller.cli.result_table import print_results
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client.rows import COLUMNS, flat_row

ProvenanceOption = Annotated[
    str, typer.Option(help="measured, or figures of simulated, replayed, emulated or imported devices only.")
]
ConstraintOption = Annotated[
    list[str] | None,
    typer.Option(
        "--constraint",
        "-c",
        help="What variants have to keep, such as 'latency_p90_ms<=20'; may be given several times.",
    ),
]


def results(
    job: JobArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Print a job's variants: size, accuracy, latency, memory, energy, verdict."""
    refuse_two_forms(json_output=json_output, csv_output=csv_output)
    with reported_errors(), open_client(url, data_dir) as client:
        rows = client.results(job)
        partial = not json_output and client.has_partial_results(job)
    if json_output:
        print_json(rows)
    elif csv_output:
        print_csv([flat_row(row) for row in rows], [Column(name) for name in COLUMNS])
    else:
        print_results(rows)
        if partial:
            console.print("Partial: the job has not ended, or was stopped before all was measured.", markup=False)


def front(
    job: JobArgument,
    x: Annotated[
        str, typer.Option(help="Figure to minimise, such as latency_p50_ms or size_bytes.")
    ] = "latency_p50_ms",
    y: Annotated[str, typer.Option(help="The other figure; accuracy is maximised.")] = "accuracy",
    constraint: ConstraintOption = None,
    device: Annotated[str | None, typer.Option(help="Only this device (name).")] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="A point leaves the front only where another beats it so surely, such as 0.95."),
    ] = None,
    provenance: ProvenanceOption = "measured",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Print the variants that no other variant beats in both figures."""
    refuse_two_forms(json_output=json_output, csv_output=csv_output)
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.front(
            job, x, y, constraints=constraint or (), device=device, provenance=provenance, confidence=confidence
        )
    if json_output:
        print_json(found.document)
        return
    columns = (Column("name", "variant"), Column("device_name", "device"), Column("x", x), Column("y", y))
    best = [point for point in found.document["points"] if point["on_front"]]
    title = None if provenance == "measured" else f"{provenance}, not measured"
    print_list(best, columns, json_output=False, csv_output=csv_output, title=title)
    if not csv_output:
        for row in found.left_out:
            console.print(f"left out: {row.variant} on {row.device or 'no device'}: {row.reason}", markup=False)
