"""What ``edgefleet gate`` asks of a job's rows, and how it tells the answers. Loads much: only that command imports it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgefleet_controller.cli.gate_output import annotations, junit_xml, sentence, summary
from edgefleet_controller.cli.listing import Column, print_list
from edgefleet_controller.cli.output import EXIT_USAGE, fail
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


@dataclass(frozen=True)
class Chosen:
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


def check_job(
    client: Client, job_id: str, chosen: Chosen, limits: Sequence[Limit], *, against: str | None, allowed: float | None
) -> list[Check]:
    """Check the chosen rows against the limits and, where a share is allowed, an earlier job; ends where there are none."""
    rows, left_out = chosen.rows(client, job_id)
    if not rows:
        fail("gate_without_rows", f"job {job_id} has no {chosen.provenance} row of these variants and this device")
    checks = check_limits(rows, limits) + left_out
    if allowed is not None:
        checks += _regressions(client, job_id, against, rows, chosen, allowed)
    return checks


def end_if_broken(checks: Sequence[Check], *, strict: bool) -> None:
    """End with ``gate_failed`` where a check failed or, if strict, is undecided."""
    failing = {Outcome.FAILED, Outcome.UNDECIDED} if strict else {Outcome.FAILED}
    broken = [check for check in checks if check.outcome in failing]
    if broken:
        fail("gate_failed", f"{len(broken)} of {len(checks)} checks do not hold; first: {sentence(broken[0])}")


def _regressions(
    client: Client, job_id: str, against: str | None, rows: list[VariantRow], chosen: Chosen, allowed: float
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


def read_limits(texts: list[str] | None, *, at_most: bool) -> list[Limit]:
    """Return the limits that texts such as ``accuracy=0.9`` name; ends with ``gate_limit_invalid`` at one that names none."""
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


def report(checks: list[Check], *, junit: Path | None, github: bool, json_output: bool, csv_output: bool) -> None:
    """Tell the checks in the forms that were asked for."""
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
