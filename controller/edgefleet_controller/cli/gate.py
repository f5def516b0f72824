"""``edgefleet gate``: an exit status for other projects' CI."""

from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.listing import CsvOption, refuse_two_forms
from edgefleet_controller.cli.output import EXIT_USAGE, fail, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client

LimitOption = Annotated[list[str] | None, typer.Option("--max", help="FIGURE=VALUE, such as latency_p90_ms=20.")]
FloorOption = Annotated[list[str] | None, typer.Option("--min", help="FIGURE=VALUE, such as accuracy=0.9.")]
VariantOption = Annotated[list[str] | None, typer.Option(help="Only this variant; may be given several times.")]


def gate(
    job: Annotated[
        str | None, typer.Argument(help="Identifier of the job; default: the newest, of this name with --name.")
    ] = None,
    at_most: LimitOption = None,
    at_least: FloorOption = None,
    against: Annotated[
        str | None,
        typer.Option(help="An earlier job to compare with; default: the last completed one of the same name."),
    ] = None,
    max_regression: Annotated[
        str | None, typer.Option(help="How much worse than in that job, such as 3% or 0.03.")
    ] = None,
    variant: VariantOption = None,
    device: Annotated[str | None, typer.Option(help="Only this device (name).")] = None,
    strict: Annotated[bool, typer.Option(help="An undecided check fails too.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the checks as JUnit XML.")] = None,
    github: Annotated[
        bool, typer.Option(help="Print GitHub annotations for what failed, and add a table to $GITHUB_STEP_SUMMARY.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Without JOB: the newest job of this name.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    provenance: Annotated[
        str, typer.Option(help="Whose figures count: measured, or simulated, replayed or imported ones.")
    ] = "measured",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Check a job's figures against limits and an earlier job; exit status 1 with the reasons if they do not hold.

    A check is undecided where the estimate is beyond the bound and its 95 % interval is not; that passes unless --strict.
    """
    from edgefleet_controller.cli import gate_checks  # what answers the API too, half a second to load

    limits = [*gate_checks.read_limits(at_most, at_most=True), *gate_checks.read_limits(at_least, at_most=False)]
    allowed = _share(max_regression) if max_regression is not None else None
    if not limits and allowed is None and against is None:
        fail("gate_without_checks", "name a limit (--max, --min) or a regression (--max-regression)", status=EXIT_USAGE)
    if against is not None and allowed is None:
        fail("gate_incomplete", "--against needs --max-regression, such as 3%", status=EXIT_USAGE)
    refuse_two_forms(json_output=json_output, csv_output=csv_output)
    chosen = gate_checks.Chosen(variant, device, provenance)
    with reported_errors(), open_client(url, data_dir) as client:
        job_id = _job(client, job, name, wait=wait)
        checks = gate_checks.check_job(client, job_id, chosen, limits, against=against, allowed=allowed)
    gate_checks.report(checks, junit=junit, github=github, json_output=json_output, csv_output=csv_output)
    gate_checks.end_if_broken(checks, strict=strict)


def _job(client: Client, job: str | None, name: str | None, *, wait: bool) -> str:
    """The job that is meant; ends with ``gate_without_job`` where there is none."""
    if job is None:
        newest = next((one for one in client.jobs() if name in (None, one["name"])), None)
        if newest is None:
            fail("gate_without_job", "there is no job to check; submit one with: edgefleet job submit MODEL")
        job = str(newest["id"])
    if wait:
        client.wait_for_job(job)
    return job


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        fail("gate_limit_invalid", f"{text!r} is not a share such as 3% or 0.03", status=EXIT_USAGE)
    return value
