"""``edgefleet gate``: an exit status for other projects' CI."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from edgefleet_controller.cli.output import EXIT_USAGE, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client
from edgefleet_controller.results.gate import Check, Limit, Outcome, check_limits, check_regressions
from edgefleet_controller.results.schemas import VariantRow

LimitOption = Annotated[list[str] | None, typer.Option("--max", help="FIGURE=VALUE, such as latency_p90_ms=20.")]
FloorOption = Annotated[list[str] | None, typer.Option("--min", help="FIGURE=VALUE, such as accuracy=0.9.")]
VariantOption = Annotated[list[str] | None, typer.Option(help="Only this variant; may be given several times.")]


def gate(
    job: Annotated[str, typer.Argument(help="Identifier of a finished job.")],
    at_most: LimitOption = None,
    at_least: FloorOption = None,
    against: Annotated[str | None, typer.Option(help="An earlier job to compare with.")] = None,
    max_regression: Annotated[
        str | None, typer.Option(help="How much worse than in that job, such as 3% or 0.03.")
    ] = None,
    variant: VariantOption = None,
    device: Annotated[str | None, typer.Option(help="Only this device (name).")] = None,
    strict: Annotated[bool, typer.Option(help="An undecided check fails too.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the checks as JUnit XML.")] = None,
    github: Annotated[bool, typer.Option(help="Print GitHub annotations for what failed.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check a job's figures against limits and an earlier job; exit status 1 with the reasons if they do not hold.

    A check is undecided where the estimate is beyond the bound and its 95 % interval is not; that passes unless --strict.
    """
    limits = [*_limits(at_most, at_most=True), *_limits(at_least, at_most=False)]
    allowed = _share(max_regression) if max_regression is not None else None
    if not limits and against is None:
        fail("gate_without_checks", "name a limit (--max, --min) or an earlier job (--against)", status=EXIT_USAGE)
    if (allowed is None) != (against is None):
        fail("gate_incomplete", "--against and --max-regression belong together", status=EXIT_USAGE)
    with reported_errors(), open_client(url, data_dir) as client:
        rows = _rows(client, job, variant, device)
        earlier = _rows(client, against, variant, device) if against is not None else []
    if not rows:
        fail("gate_without_rows", f"job {job} has no row of these variants and this device")
    checks = check_limits(rows, limits)
    if allowed is not None:
        checks += check_regressions(rows, earlier, allowed=allowed)
    _report(checks, junit=junit, github=github, json_output=json_output)
    failing = {Outcome.FAILED, Outcome.UNDECIDED} if strict else {Outcome.FAILED}
    broken = [check for check in checks if check.outcome in failing]
    if broken:
        fail("gate_failed", f"{len(broken)} of {len(checks)} checks do not hold; first: {_sentence(broken[0])}")


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


def _rows(client: Client, job: str, variants: list[str] | None, device: str | None) -> list[VariantRow]:
    rows = [VariantRow.model_validate(row) for row in client.results(job)]
    return [
        row for row in rows if (not variants or row.name in variants) and (device is None or row.device_name == device)
    ]


def _report(checks: list[Check], *, junit: Path | None, github: bool, json_output: bool) -> None:
    if junit is not None:
        junit.write_bytes(junit_xml(checks))
    if github:
        for check in checks:
            if check.outcome in (Outcome.FAILED, Outcome.UNDECIDED):
                level = "error" if check.outcome is Outcome.FAILED else "warning"
                sys.stdout.write(f"::{level} title={_escaped(check.row)}::{_escaped(_sentence(check))}\n")
    if json_output:
        print_json([asdict(check) for check in checks])
    elif not github:
        cells = [(c.outcome.value, c.row, c.device, c.question, c.reason) for c in checks]
        print_table(("outcome", "variant", "device", "check", "found"), cells)


def junit_xml(checks: list[Check]) -> bytes:
    """Return the checks as a JUnit document: one test case each, undecided and skipped ones as skipped."""
    counts = {outcome: sum(check.outcome is outcome for check in checks) for outcome in Outcome}
    suite = ElementTree.Element(
        "testsuite",
        name="edgefleet gate",
        tests=str(len(checks)),
        failures=str(counts[Outcome.FAILED]),
        skipped=str(counts[Outcome.UNDECIDED] + counts[Outcome.SKIPPED]),
        errors="0",
    )
    for check in checks:
        where = f"{check.row} on {check.device}" if check.device else check.row
        case = ElementTree.SubElement(suite, "testcase", classname=where, name=check.question)
        if check.outcome is Outcome.FAILED:
            ElementTree.SubElement(case, "failure", message=check.reason)
        elif check.outcome is not Outcome.PASSED:
            ElementTree.SubElement(case, "skipped", message=f"{check.outcome.value}: {check.reason}")
    document: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return document


def _sentence(check: Check) -> str:
    where = f"{check.row} on {check.device}" if check.device else check.row
    return f"{where}: {check.question} is {check.outcome.value}: {check.reason}"


def _escaped(text: str) -> str:
    """Escape a property or message of a workflow command (docs.github.com, workflow commands for GitHub Actions)."""
    replaced = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return replaced.replace(":", "%3A").replace(",", "%2C")
