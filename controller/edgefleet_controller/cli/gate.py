"""``edgefleet gate``: an exit status for other projects' CI."""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.cli.gate_output import annotations, junit_xml, sentence, summary
from edgefleet_controller.cli.listing import Column, CsvOption, print_list, refuse_two_forms
from edgefleet_controller.cli.output import EXIT_USAGE, fail, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client
from edgefleet_controller.results.gate import Check, Limit, Outcome, check_limits, check_regressions
from edgefleet_controller.results.schemas import VariantRow

COLUMNS = (
    Column("outcome"),
    Column("row", "variant"),
    Column("device"),
    Column("question", "check"),
    Column("reason", "found"),
)
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
    limits = [*_limits(at_most, at_most=True), *_limits(at_least, at_most=False)]
    allowed = _share(max_regression) if max_regression is not None else None
    if not limits and allowed is None and against is None:
        fail("gate_without_checks", "name a limit (--max, --min) or a regression (--max-regression)", status=EXIT_USAGE)
    if against is not None and allowed is None:
        fail("gate_incomplete", "--against needs --max-regression, such as 3%", status=EXIT_USAGE)
    refuse_two_forms(json_output=json_output, csv_output=csv_output)
    chosen = _Chosen(variant, device, provenance)
    with reported_errors(), open_client(url, data_dir) as client:
        job_id = _job(client, job, name, wait=wait)
        rows, left_out = chosen.rows(client, job_id)
        checks = check_limits(rows, limits) + left_out
        if rows and allowed is not None:
            checks += _regressions(client, job_id, against, rows, chosen, allowed)
    if not rows:
        fail("gate_without_rows", f"job {job_id} has no {provenance} row of these variants and this device")
    _report(checks, junit=junit, github=github, json_output=json_output, csv_output=csv_output)
    failing = {Outcome.FAILED, Outcome.UNDECIDED} if strict else {Outcome.FAILED}
    broken = [check for check in checks if check.outcome in failing]
    if broken:
        fail("gate_failed", f"{len(broken)} of {len(checks)} checks do not hold; first: {sentence(broken[0])}")


@dataclass(frozen=True)
class _Chosen:
    """Which rows count."""

    variants: list[str] | None
    device: str | None
    provenance: str

    def rows(self, client: Client, job_id: str) -> tuple[list[VariantRow], list[Check]]:
        """The job's rows of these variants and this device, and a skipped check for each of another provenance.

        A row without figures has none: it counts, and fails.
        """
        found = [VariantRow.model_validate(row) for row in client.results(job_id)]
        named = [row for row in found if self._is_named(row)]
        others = [row for row in named if row.provenance not in (None, self.provenance)]
        skipped = [
            Check(
                row.label,
                row.device_name,
                f"{self.provenance} figures",
                Outcome.SKIPPED,
                f"its figures are {row.provenance}",
            )
            for row in others
        ]
        return [row for row in named if row not in others], skipped

    def _is_named(self, row: VariantRow) -> bool:
        has_variant = self.variants is None or row.label in self.variants or row.name in self.variants
        return has_variant and self.device in (None, row.device_name)


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


def _regressions(
    client: Client, job_id: str, against: str | None, rows: list[VariantRow], chosen: _Chosen, allowed: float
) -> list[Check]:
    earlier_id = against or _previous(client, job_id)
    if earlier_id is None:
        said = "there is no earlier completed job of this name"
        return [Check("all", chosen.device, "no regression", Outcome.SKIPPED, said)]
    earlier, _ = chosen.rows(client, earlier_id)
    return check_regressions(rows, earlier, allowed=allowed)


def _previous(client: Client, job_id: str) -> str | None:
    """The last job of the same name that completed before this one was submitted."""
    job = client.job(job_id)
    before = (
        one["id"]
        for one in client.jobs()
        if one["name"] == job["name"] and one["state"] == "completed" and one["created_at"] < job["created_at"]
    )
    return next(before, None)


def _limits(texts: list[str] | None, *, at_most: bool) -> list[Limit]:
    limits = []
    for text in texts or ():
        figure, separator, value = text.partition("=")
        try:
            if not separator:
                raise ValueError(f"{text!r} is not FIGURE=VALUE")
            limits.append(Limit(figure.strip(), float(value), at_most))
        except ValueError as err:
            fail("gate_limit_invalid", str(err), status=EXIT_USAGE)
    return limits


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        fail("gate_limit_invalid", f"{text!r} is not a share such as 3% or 0.03", status=EXIT_USAGE)
    return value


def _report(checks: list[Check], *, junit: Path | None, github: bool, json_output: bool, csv_output: bool) -> None:
    if junit is not None:
        junit.write_bytes(junit_xml(checks))
    if github:
        sys.stdout.write(annotations(checks))
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(summary(checks))
    if json_output or csv_output or not github:
        documents = [asdict(check) for check in checks]
        print_list(documents, COLUMNS, json_output=json_output, csv_output=csv_output)
