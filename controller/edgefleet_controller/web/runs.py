"""One run: what was measured, how far to trust it, and under which conditions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from edgefleet_controller.results.bundle import CHUNK_BYTES, command_of, write_bundle
from edgefleet_controller.results.checks import Checks, checks_of
from edgefleet_controller.results.explanations import Explanation, explain
from edgefleet_controller.results.run_record import RunRecord, find_record, read_samples
from edgefleet_controller.services import ReadSession, Services, ServicesOf
from edgefleet_controller.web import run_charts
from edgefleet_controller.web.charts import Chart
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)


@dataclass(frozen=True)
class RunPage:
    """What the page shows. remarks: why a chart is missing."""

    record: RunRecord
    reasons: list[Explanation]
    checks: Checks
    charts: dict[str, Chart]
    remarks: dict[str, str]
    conditions: list[tuple[str, Any, Any]]
    command: str


def run_page(session: Session, services: Services, run_id: str) -> RunPage:
    """All of a run; NotFound if there is none."""
    record = find_record(session, run_id)
    charts, remarks = _charts(session, services, record)
    return RunPage(
        record=record,
        reasons=[explain(code) for code in _codes(record)],
        checks=checks_of(record.result),
        charts=charts,
        remarks=remarks,
        conditions=_conditions(record.report.get("environment") or {}),
        command=command_of(record),
    )


def _codes(record: RunRecord) -> list[str]:
    """Every code that the run's figures carry, once."""
    report, error = record.report, record.run.error or {}
    found = [error.get("code")] if error else []
    found += (report.get("verdict") or {}).get("reasons", [])
    found += [(report.get(part) or {}).get("reason") for part in ("energy", "accuracy", "memory")]
    found += ((report.get("latency_ms") or {}).get("reasons") or {}).values()
    return list(dict.fromkeys(str(code) for code in found if code))


def _charts(session: Session, services: Services, record: RunRecord) -> tuple[dict[str, Chart], dict[str, str]]:
    report = record.report
    timed, warmup, power = (
        read_samples(session, services.blobs, record, name) for name in ("latency", "warmup", "power")
    )
    charts: dict[str, Chart] = {}
    if timed:
        charts["histogram"] = run_charts.latency_histogram(timed, report.get("latency_ms") or {})
        charts["series"] = run_charts.latency_series(timed, warmup)
    if power:
        charts["power"] = run_charts.power_trace(power, timed)
    if report.get("memory"):
        charts["memory"] = run_charts.memory_phases(report["memory"])
    operators = (report.get("placement") or {}).get("operators")
    if operators:
        charts["operators"] = run_charts.operator_bars(operators)
    remarks = {name: one.reason for name, one in (("latency", timed), ("power", power)) if one.reason is not None}
    return charts, remarks


def _conditions(environment: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Each condition before and after the run; what neither tells is left out."""
    before, after = environment.get("before") or {}, environment.get("after") or {}
    names = dict.fromkeys([*before, *after])
    rows = [(name, before.get(name), after.get(name)) for name in names if name != "monotonic_ns"]
    return [row for row in rows if row[1] not in (None, {}, []) or row[2] not in (None, {}, [])]


@router.get("/runs/{run_id}")
def show_run(request: Request, run_id: str, session: ReadSession, services: ServicesOf) -> Response:
    """One run."""
    return render(request, "run.html", page=run_page(session, services, run_id))


@router.get("/runs/{run_id}/bundle.zip")
def download_bundle(run_id: str, session: ReadSession, services: ServicesOf) -> Response:
    """What somebody needs to measure the same once more."""
    archive = write_bundle(find_record(session, run_id), services.blobs)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"', "Cache-Control": "no-store"}
    return StreamingResponse(_chunks(archive), media_type="application/zip", headers=headers)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
