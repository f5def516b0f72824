"""The table of a job and its front."""

import base64
from collections.abc import Sequence

from sqlalchemy.orm import Session

from edgefleet_compression.search.estimates import Estimate
from edgefleet_controller.db.tables import Job
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.results import repository
from edgefleet_controller.results.constraints import parse_constraint, why_not_kept
from edgefleet_controller.results.errors import ProvenanceMixed, UnknownAxis
from edgefleet_controller.results.figures import FIGURES, Figure
from edgefleet_controller.results.front import find_front, find_probable_front
from edgefleet_controller.results.rows import TRUSTED, make_rows
from edgefleet_controller.results.schemas import (
    Axis,
    Front,
    FrontPoint,
    FrontRequest,
    LeftOut,
    ResultsPage,
    ResultsRequest,
    VariantRow,
)

STOPPED_BY_US = frozenset({"too_many_failures", "deadline_exceeded", "work_lost"})
"""Why a job may end before all was measured, beside a person's cancel."""


def variant_rows(session: Session, job_id: str) -> list[VariantRow]:
    """One row for each variant and device of the job; NotFound if there is no such job."""
    job = jobs.find(session, job_id)
    return make_rows(repository.records_of_job(session, job_id), metric=str(job.request.get("metric", "top1")))


def page_of_rows(session: Session, request: ResultsRequest) -> ResultsPage:
    """A page of the job's rows; ratios refer to the whole job."""
    keyed = [(f"{row.variant_id}/{row.run_id or ''}", row) for row in variant_rows(session, request.job)]
    after = request.after
    start = next((index + 1 for index, (key, _) in enumerate(keyed) if key == after), 0) if after else 0
    page = keyed[start : start + request.size]
    is_last = start + request.size >= len(keyed)
    cursor = None if is_last else base64.urlsafe_b64encode(page[-1][0].encode()).decode()
    partial = is_partial(jobs.find(session, request.job))
    return ResultsPage(items=[row for _, row in page], next_cursor=cursor, partial=partial)


def is_partial(job: Job) -> bool:
    """Whether there are, or were to be, more results than the job has now."""
    stopped = (job.error or {}).get("code") in STOPPED_BY_US
    return job.state not in ("completed", "failed") or stopped


def front_of_job(session: Session, request: FrontRequest) -> Front:
    """Points and front of two figures of a job; NotFound if there is no such job."""
    return front_of_rows(variant_rows(session, request.job), request)


def front_of_rows(rows: Sequence[VariantRow], request: FrontRequest) -> Front:
    """Points and front of two figures; figures of different provenance are never put into one front."""
    wanted: set[str] = set(request.provenance)
    if len(wanted) > 1:
        raise ProvenanceMixed(f"One front cannot hold {' and '.join(sorted(wanted))} figures; ask for one of them.")
    x, y = _figure(request.x), _figure(request.y)
    limits = [parse_constraint(text) for text in request.constraint]
    reasons = [
        (row, _why_left_out(row, x, y, wanted) or why_not_kept(row, limits))
        for row in rows
        if _is_of_device(row, request.device)
    ]
    points = [row for row, why in reasons if why is None]
    estimates = [(_estimate(x, row), _estimate(y, row)) for row in points]
    flags = _front_of(estimates, (x, y), [row.verdict.status == "valid" for row in points], request.confidence)
    drawn = [
        FrontPoint(
            **_names(row),
            x=at[0].value,
            y=at[1].value,
            verdict=row.verdict.status,
            on_front=flag,
        )
        for row, at, flag in zip(points, estimates, flags, strict=True)
    ]
    return Front(
        job=request.job,
        x=_axis(request.x, x),
        y=_axis(request.y, y),
        provenance=points[0].provenance if points else None,
        confidence=request.confidence,
        points=sorted(drawn, key=lambda point: (point.x, point.y)),
        left_out=[
            LeftOut(name=row.label, device_name=row.device_name, reason=why) for row, why in reasons if why is not None
        ],
    )


def _figure(name: str) -> Figure:
    if name not in FIGURES:
        raise UnknownAxis(f"There is no figure {name!r}; the figures are {', '.join(FIGURES)}.")
    return FIGURES[name]


def _axis(name: str, figure: Figure) -> Axis:
    return Axis(name=name, direction=figure.direction.value, label=figure.label)


def _is_of_device(row: VariantRow, device: str | None) -> bool:
    return device is None or device in (row.device_id, row.device_name)


def _why_left_out(row: VariantRow, x: Figure, y: Figure, wanted: set[str]) -> str | None:
    if row.verdict.status not in TRUSTED:
        return ", ".join([row.verdict.status, *row.verdict.reasons])
    if row.provenance not in wanted:
        return f"its figures are {row.provenance}"
    missing = [figure.label for figure in (x, y) if figure.read(row) is None]
    return f"no {' and no '.join(missing)}" if missing else None


def _estimate(figure: Figure, row: VariantRow) -> Estimate:
    estimate = figure.read(row)
    assert estimate is not None  # rows without it were left out
    return estimate


def _front_of(
    estimates: Sequence[Sequence[Estimate]], figures: Sequence[Figure], reliable: list[bool], confidence: float | None
) -> list[bool]:
    directions = [figure.direction for figure in figures]
    if confidence is None:
        return find_front([[item.value for item in point] for point in estimates], directions, reliable)
    return find_probable_front(estimates, directions, reliable, confidence=confidence)


def _names(row: VariantRow) -> dict[str, str | None]:
    fields = ("variant_id", "device_id", "device_name", "run_id")
    return {"name": row.label} | {field: getattr(row, field) for field in fields}
