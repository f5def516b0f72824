"""The front: results of a job over two or three figures, and which of them nothing beats."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Job
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service as job_service
from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.results.points import (
    FRONT_FIGURES,
    ExactPoint,
    FrontPoints,
    PointRow,
    imports_of_model,
    point_document,
    points_of_jobs,
)
from edgefleet_controller.results.separated import Span, find_separated_front
from edgefleet_controller.services import ReadSession
from edgefleet_controller.web.rendering import SECURITY_HEADERS, render

router = APIRouter(include_in_schema=False, default_response_class=Response)
FigureName = Literal["latency_p50_ms", "accuracy", "size_bytes", "energy_mj", "peak_memory_bytes"]
N_JOBS = 50
MAX_LISTED = 200
"""Rows of the table that is written with the page; the script writes those of any other wish."""


class FrontQuery(BaseModel):
    """What the page is asked for."""

    model_config = ConfigDict(extra="forbid")
    job: str | None = Field(default=None, max_length=200)
    x: FigureName = "latency_p50_ms"
    y: FigureName = "accuracy"
    z: FigureName | None = None
    device: str | None = Field(default=None, max_length=200)
    simulated: bool = False
    imported: bool = False

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_wanted(cls, given: object) -> object:
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, dict) else given

    @property
    def figures(self) -> list[str]:
        """The figures of the front, each once."""
        return list(dict.fromkeys(name for name in (self.x, self.y, self.z) if name is not None))

    @property
    def provenances(self) -> set[str]:
        """Whose figures are shown."""
        asked_for = {"simulated": self.simulated, "imported": self.imported}
        return {"measured", *(name for name, is_wanted in asked_for.items() if is_wanted)}


def front_rows(points: FrontPoints, wanted: FrontQuery) -> list[tuple[PointRow, bool]]:
    """The points of the wish with whether nothing beats them; on each board apart, unless one is named: the winners first."""
    kept = [
        row
        for row in points.rows
        if all(getattr(row, name) is not None for name in wanted.figures)
        and (wanted.device in (None, row.device_name))
        and row.provenance in wanted.provenances
    ]
    flags: dict[str, bool] = {}
    groups: dict[tuple[str | None, str], list[PointRow]] = {}
    for row in kept:
        groups.setdefault((row.device_name, row.provenance), []).append(row)
    for members in groups.values():
        spans = [_spans(row, wanted.figures) for row in members]
        found = find_separated_front(spans, [row.verdict == "valid" for row in members])
        flags |= {row.run_id: flag for row, flag in zip(members, found, strict=True)}
    rows = [(row, flags[row.run_id]) for row in kept]
    return sorted(rows, key=lambda pair: (not pair[1], getattr(pair[0], wanted.x)))


def _spans(row: PointRow, figures: Sequence[str]) -> list[Span]:
    spans = []
    if isinstance(row, ExactPoint):
        values = [-getattr(row, name) if FRONT_FIGURES[name].is_maximised else getattr(row, name) for name in figures]
        return [(value, value, value) for value in values]
    for name in figures:
        estimate = row.estimate(name)
        assert estimate is not None  # rows without it were left out
        low, high = estimate.interval
        value = estimate.value
        spans.append((-high, -value, -low) if FRONT_FIGURES[name].is_maximised else (low, value, high))
    return spans


def _choose(session: Session, wanted: FrontQuery) -> tuple[list[Job], Job | None]:
    """Jobs to choose from, and the one that is shown: the newest completed one unless one is named."""
    listed, _ = jobs.page_of_jobs(session, PageRequest(limit=N_JOBS))
    if wanted.job is not None:
        return listed, job_service.find(session, wanted.job)
    completed = (job for job in listed if job.state == "completed" and job.remeasure_of is None and not _is_import(job))
    return listed, next(completed, listed[0] if listed else None)


def _is_import(job: Job) -> bool:
    return "imported" in job.request


def _points(session: Session, job: Job) -> FrontPoints:
    """Of the job, and of what other tools measured of its model."""
    return points_of_jobs(session, list({job.id, *imports_of_model(session, job.model_id)}))


@router.get("/front")
def show_front(request: Request, wanted: Annotated[FrontQuery, Query()], session: ReadSession) -> Response:
    """The page; its table is that of the front as asked for, without any script."""
    listed, job = _choose(session, wanted)
    if job is not None and _is_import(job):
        wanted = wanted.model_copy(update={"imported": True})
    points = _points(session, job) if job is not None else FrontPoints([], 0, True, False)
    rows = front_rows(points, wanted)
    return render(
        request,
        "front.html",
        wanted=wanted,
        jobs=listed,
        job=job,
        rows=rows[:MAX_LISTED],
        n_rows=len(rows),
        n_front=sum(flag for _, flag in rows),
        figures=FRONT_FIGURES,
        devices=sorted({row.device_name for row in points.rows if row.device_name}),
        points=points,
    )


@router.get("/front/points.json")
def list_points(session: ReadSession, job: Annotated[str, Query(max_length=200)]) -> Response:
    """The points of a job with all their figures, for the page's script."""
    found = _points(session, job_service.find(session, job))
    figures = {
        name: {"label": one.label, "maximised": one.is_maximised, "share": one.is_share}
        for name, one in FRONT_FIGURES.items()
    }
    document = {"figures": figures, "points": [point_document(row) for row in found.rows]}
    return JSONResponse(document, headers=SECURITY_HEADERS)
