"""One board: what it is and has, how it is now, and what it measured over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Run
from edgefleet_controller.devices import service
from edgefleet_controller.devices.conditions import BoardConditions, CurrentRun, current_runs, last_conditions
from edgefleet_controller.devices.schemas import DeviceView
from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.results.history import (
    ChangePoint,
    HistoryPoint,
    MeasuredArtifact,
    artifacts_of_device,
    changes_of,
    history_of,
)
from edgefleet_controller.runs import repository as runs
from edgefleet_controller.services import ReadSession, Services, ServicesOf
from edgefleet_controller.web.charts import Axis, Chart, Mark, Point, Series, Table
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)
N_RUNS = 20
Sha256 = Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class DevicePage:
    """What the page shows."""

    device: DeviceView
    run: CurrentRun | None
    conditions: BoardConditions | None
    artifacts: list[MeasuredArtifact]
    chosen: str | None
    latency: Chart | None
    energy: Chart | None
    runs: list[Run]


def device_page(session: Session, services: Services, name_or_id: str, artifact: str | None) -> DevicePage:
    """All of a board; NotFound if there is none."""
    row = service.find(session, name_or_id)
    known = artifacts_of_device(session, row.id)
    chosen = artifact or (known[0].sha256 if known else None)
    points = history_of(session, row.id, chosen) if chosen is not None else []
    changes = changes_of(session, row.id, chosen) if chosen is not None else []
    has_energy = any(point.energy_mj is not None for point in points)
    last, _ = runs.page_of_runs(session, PageRequest(limit=N_RUNS), None, row.id)
    return DevicePage(
        device=service.view(session, row, services.presence, services.settings.presence_timeout_s),
        run=current_runs(session, [row.id]).get(row.id),
        conditions=last_conditions(session, [row.id]).get(row.id),
        artifacts=known,
        chosen=chosen,
        latency=latency_history(points, _marks(changes, "latency_p50_ms")) if points else None,
        energy=energy_history(points, _marks(changes, "energy_mj")) if has_energy else None,
        runs=last,
    )


def _marks(changes: Sequence[ChangePoint], figure: str) -> list[Mark]:
    return [
        Mark(one.at.isoformat(), f"{100 * (one.ratio - 1):+.1f} %", tone="bad" if one.direction == "worse" else "good")
        for one in changes
        if one.figure == figure
    ]


def latency_history(points: Sequence[HistoryPoint], marks: Sequence[Mark] = ()) -> Chart:
    """Median latency with its interval, run by run. marks: where a change point was found."""
    drawn = [
        _point(point, point.latency_p50_ms, point.latency_interval_ms)
        for point in points
        if point.latency_p50_ms is not None
    ]
    rows = [
        (point.at, point.latency_p50_ms, *(point.latency_interval_ms or (None, None)), point.verdict)
        for point in points
    ]
    return Chart(
        Axis("ended", "time"),
        Axis("median latency, ms"),
        [Series("", "line", drawn)],
        Table(["run ended", "median latency, ms", "from", "to", "verdict"], rows),
        marks=marks,
    )


def energy_history(points: Sequence[HistoryPoint], marks: Sequence[Mark] = ()) -> Chart:
    """Energy per inference with its expanded uncertainty, run by run."""
    drawn, rows = [], []
    for point in points:
        if point.energy_mj is None:
            continue
        half = point.energy_uncertainty_mj
        interval = None if half is None else (point.energy_mj - half, point.energy_mj + half)
        drawn.append(_point(point, point.energy_mj, interval))
        rows.append((point.at, point.energy_mj, half, point.verdict))
    return Chart(
        Axis("ended", "time"),
        Axis("energy per inference, mJ"),
        [Series("", "line", drawn)],
        Table(["run ended", "energy, mJ", "\N{PLUS-MINUS SIGN}", "verdict"], rows),
        marks=marks,
    )


def _point(point: HistoryPoint, value: float, interval: tuple[float, float] | None) -> Point:
    return Point(
        point.at.isoformat(),
        value,
        note=point.verdict if point.provenance == "measured" else f"{point.verdict}, {point.provenance}",
        href=f"/runs/{point.run_id}",
        y_interval=interval,
    )


@router.get("/devices/{device_id}")
def show_device(
    request: Request, device_id: str, session: ReadSession, services: ServicesOf, artifact: Sha256 = None
) -> Response:
    """One board."""
    return render(request, "device.html", page=device_page(session, services, device_id, artifact))
