"""What the report says, gathered from a controller."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from edgefleet_controller.client import TERMINAL_JOB_STATES, Client, ClientError, Front, ResultRow, Results
from edgefleet_controller.results.explanations import explain

JsonObject = dict[str, Any]

MAX_DETAILED = 60
"""Runs and artifacts whose conditions and versions are fetched; a sweep of thousands would take minutes."""
HOST_FACTS = ("cpu_model", "n_cores", "kernel", "os", "virtualisation")
RUNTIME_FACTS = ("name", "version", "providers")


@dataclass(frozen=True)
class Remark:
    """A reason code with what it means, and the rows that carry it."""

    code: str
    meaning: str
    advice: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Circumstances:
    """Conditions of one run: name -> text, in the order to show them."""

    row: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Contents:
    """All of the report. ``fronts``: device -> front of its measured rows in p50 and accuracy."""

    url: str
    made_at: datetime
    job: JsonObject
    model: JsonObject
    results: Results
    fronts: Mapping[str, Front]
    remarks: tuple[Remark, ...]
    circumstances: tuple[Circumstances, ...]
    versions: Mapping[str, str]
    n_without_details: int

    @property
    def is_ended(self) -> bool:
        """Whether the job had ended when this was gathered."""
        return self.job["state"] in TERMINAL_JOB_STATES


def gather(client: Client, job_id: str, *, now: datetime | None = None) -> Contents:
    """The report's contents as they are now; ClientError where the job is unknown or the controller away."""
    job = client.job(job_id)
    results = client.result_table(job_id)
    detailed = [row for row in results if row.run_id is not None and row.provenance is not None]
    reports = {row.run_id: client.run(str(row.run_id))["report"] or {} for row in detailed[:MAX_DETAILED]}
    return Contents(
        url=client.url,
        made_at=now or datetime.now(UTC),
        job=job,
        model=client.model(job["model_id"]),
        results=results,
        fronts={name: client.front(job_id, device=name) for name in _measured_devices(results)},
        remarks=remarks_of(results),
        circumstances=tuple(_circumstances(row, reports[row.run_id]) for row in detailed if row.run_id in reports),
        versions=_versions(client, results, list(reports.values())),
        n_without_details=max(0, len(detailed) - MAX_DETAILED),
    )


def label(row: ResultRow) -> str:
    """The row's name, with its device."""
    swept = row.document["settings"]
    settings = " (" + ", ".join(f"{name} {value}" for name, value in swept.items()) + ")" if swept else ""
    return f"{row.variant}{settings} on {row.device}" if row.device else f"{row.variant}{settings}"


def remarks_of(results: Sequence[ResultRow]) -> tuple[Remark, ...]:
    """Every code of a verdict or failure, and of a missing figure, with the rows it stands at."""
    rows_of: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    for row in results:
        error = row.document["error"] or {}
        said |= {str(error["code"]): str(error.get("message", ""))} if "code" in error else {}
        missing = [row.energy_reason] if row.energy_reason and row.provenance else []
        for code in dict.fromkeys([*row.verdict_reasons, *missing]):
            rows_of.setdefault(code, []).append(label(row))
    return tuple(_remark(code, said.get(code), rows) for code, rows in rows_of.items())


def _remark(code: str, message: str | None, rows: Sequence[str]) -> Remark:
    if code == "cancelled":
        return Remark(
            code, "The run was cancelled.", "Measure again, if it is wanted: edgefleet job remeasure.", tuple(rows)
        )
    known = explain(code)
    return Remark(code, message or _plain(known.meaning), _plain(known.advice), tuple(rows))


def _plain(markdown: str) -> str:
    """The words without Markdown's links and code marks."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", markdown).replace("`", "")


def _measured_devices(results: Results) -> list[str]:
    return sorted({row.device for row in results if row.device is not None and row.provenance == "measured"})


def _circumstances(row: ResultRow, report: JsonObject) -> Circumstances:
    environment: JsonObject = report.get("environment") or {}
    facts: dict[str, str] = {"agent": str(report.get("agent_version", "unknown"))}
    facts |= _named(environment.get("host"), HOST_FACTS, "")
    facts |= _named(environment.get("runtime"), RUNTIME_FACTS, "runtime ")
    for when in ("before", "after"):
        facts |= _conditions(when, environment.get(when) or {})
    facts |= {f"setting {name}": str(value) for name, value in (environment.get("settings") or {}).items()}
    if not environment:
        facts["conditions"] = "the agent reported none"
    return Circumstances(label(row), facts)


def _named(found: Mapping[str, Any] | None, names: Sequence[str], prefix: str) -> dict[str, str]:
    return {prefix + name: str(found[name]) for name in names if name in found} if found else {}


def _conditions(when: str, read: Mapping[str, Any]) -> dict[str, str]:
    texts = {
        "governor": ", ".join(read.get("governors") or []),
        "frequency": ", ".join(f"{khz / 1000:.0f} MHz" for khz in read.get("frequencies_khz") or []),
        "temperature": ", ".join(
            f"{zone} {value:.1f} °C" for zone, value in (read.get("temperatures_c") or {}).items()
        ),
        "load": "" if read.get("load_average_1m") is None else f"{read['load_average_1m']:.2f}",
        "throttled": "" if read.get("throttled_bits") is None else f"{read['throttled_bits']:#x}",
        "power mode": read.get("power_mode") or "",
    }
    return {f"{name} {when}": text for name, text in texts.items() if text}


def _versions(client: Client, results: Results, reports: Sequence[JsonObject]) -> dict[str, str]:
    """What compiled the artifacts and what measured them; several versions of one tool are joined."""
    found: dict[str, set[str]] = {}
    hashes = list(dict.fromkeys(row.artifact_sha256 for row in results if row.artifact_sha256 is not None))
    for sha256 in hashes[:MAX_DETAILED]:
        for tool, version in _tool_versions(client, sha256).items():
            found.setdefault(tool, set()).add(str(version))
    for report in reports:
        if "agent_version" in report:
            found.setdefault("edgefleet-agent", set()).add(str(report["agent_version"]))
    return {tool: ", ".join(sorted(versions)) for tool, versions in sorted(found.items())}


def _tool_versions(client: Client, sha256: str) -> JsonObject:
    try:
        versions: JsonObject = client.manifest(sha256).get("tool_versions") or {}
    except ClientError as err:
        if err.status != 404:
            raise
        return {}  # the file was collected since; its row stays
    return versions
