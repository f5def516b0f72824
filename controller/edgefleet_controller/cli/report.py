"""``edgefleet report`` and ``export``: a job's results as files."""

from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.jobs import JobArgument
from edgefleet_controller.cli.output import EXIT_USAGE, console, fail, reported_errors
from edgefleet_controller.cli.session import DataDirOption, UrlOption, open_client


def report(
    job: JobArgument,
    html: Annotated[Path, typer.Option(help="The file to write; an older one is replaced.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a job as one self-contained HTML file: tables, plots, verdicts in words, conditions, versions."""
    from edgefleet_controller.exports.report import gather, render_report

    with reported_errors(), open_client(url, data_dir) as client:
        contents = gather(client, job)
    _write(html, render_report(contents))
    console.print(f"{html}", markup=False)
    if not contents.is_ended:
        console.print(f"The job is still {contents.job['state']}: the report holds partial results.", markup=False)


def export(
    job: JobArgument,
    csv: Annotated[Path | None, typer.Option(help="Write the rows as CSV.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the rows as JSON, as the API gives them.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write the rows as Parquet (extra parquet).")] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Add runs to an MLflow store, such as ./mlruns or https://... (extra mlflow).")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="MLflow experiment; default: the job's name.")] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write a job's results for other tools; several forms at once are allowed."""
    if csv is None and json is None and parquet is None and mlflow is None:
        fail("export_without_form", "name a form: --csv, --json, --parquet or --mlflow", status=EXIT_USAGE)
    with reported_errors(), open_client(url, data_dir) as client:
        results = client.result_table(job)
        try:
            written = [results.to_csv(csv)] if csv is not None else []
            written += [results.to_json(json)] if json is not None else []
            written += [results.to_parquet(parquet)] if parquet is not None else []
        except OSError as err:
            fail("file_unwritable", f"{err.filename} cannot be written ({err.strerror})")
        if mlflow is not None:
            from edgefleet_controller.exports.mlflow_store import export_to_mlflow

            n_runs = export_to_mlflow(client, job, mlflow, experiment=experiment)
            console.print(f"{n_runs} runs in {mlflow}", markup=False)
    for path in written:
        console.print(f"{path}", markup=False)
    if results.partial:
        console.print("Partial: the job has not ended, or was stopped before all was measured.", markup=False)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        fail("file_unwritable", f"{path} cannot be written ({err.strerror}); name a file in a folder that is yours")
