"""The table of a job and its front."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy.orm import Session

from edgefleet_controller.errors import ProvenanceMixed, UnknownAxis
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.results import repository
from edgefleet_controller.results.front import Direction, find_front
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


@dataclass(frozen=True)
class Figure:
    """A figure that a front may have as an axis."""

    label: str
    direction: Direction
    read: Callable[[VariantRow], float | None]


def _of_latency(name: str) -> Callable[[VariantRow], float | None]:
    def read(row: VariantRow) -> float | None:
        value: float | None = getattr(row.latency_ms, name, None)
        return value

    return read


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "latency_p50_ms": Figure("median latency (ms)", Direction.MINIMISE, _of_latency("p50")),
        "latency_p90_ms": Figure("90th percentile of latency (ms)", Direction.MINIMISE, _of_latency("p90")),
        "latency_p99_ms": Figure("99th percentile of latency (ms)", Direction.MINIMISE, _of_latency("p99")),
        "throughput_per_s": Figure("samples per second", Direction.MAXIMISE, _of_latency("throughput_per_s")),
        "size_bytes": Figure("size of the file (bytes)", Direction.MINIMISE, lambda row: row.size_bytes),
        "peak_memory_bytes": Figure("peak memory (bytes)", Direction.MINIMISE, lambda row: row.peak_memory_bytes),
        "energy_mj": Figure("gross energy per inference (mJ)", Direction.MINIMISE, lambda row: row.energy.value_mj),
        "accuracy": Figure("accuracy on the device", Direction.MAXIMISE, lambda row: row.accuracy_device),
    }
)
"""Axes by name."""


def variant_rows(session: Session, job_id: str) -> list[VariantRow]:
    """One row for each variant and device of the job; NotFound if there is no such job."""
    jobs.find(session, job_id)
    return make_rows(repository.records_of_job(session, job_id))


def page_of_rows(session: Session, request: ResultsRequest) -> ResultsPage:
    """A page of the job's rows; ratios refer to the whole job."""
    keyed = [
        (f"{row.variant_id}/{row.device_id or ''}/{row.settings_ordinal or 0}", row)
        for row in variant_rows(session, request.job)
    ]
    after = request.after
    start = next((index + 1 for index, (key, _) in enumerate(keyed) if key == after), 0) if after else 0
    page = keyed[start : start + request.size]
    is_last = start + request.size >= len(keyed)
    cursor = None if is_last else base64.urlsafe_b64encode(page[-1][0].encode()).decode()
    return ResultsPage(items=[row for _, row in page], next_cursor=cursor)


def front_of_job(session: Session, request: FrontRequest) -> Front:
    """Points and front of two figures of a job; NotFound if there is no such job."""
    return front_of_rows(variant_rows(session, request.job), request)


def front_of_rows(rows: Sequence[VariantRow], request: FrontRequest) -> Front:
    """Points and front of two figures; figures of different provenance are never put into one front."""
    wanted: set[str] = set(request.provenance)
    if len(wanted) > 1:
        raise ProvenanceMixed(f"One front cannot hold {' and '.join(sorted(wanted))} figures; ask for one of them.")
    x, y = _figure(request.x), _figure(request.y)
    rows = [row for row in rows if _is_of_device(row, request.device)]
    points = [row for row in rows if _why_left_out(row, x, y, wanted) is None]
    coordinates = [(_value(x, row), _value(y, row)) for row in points]
    flags = find_front(coordinates, [x.direction, y.direction], [row.verdict.status == "valid" for row in points])
    drawn = [
        FrontPoint(**_names(row), x=at[0], y=at[1], verdict=row.verdict.status, on_front=flag)
        for row, at, flag in zip(points, coordinates, flags, strict=True)
    ]
    left_out = [(row, _why_left_out(row, x, y, wanted)) for row in rows]
    return Front(
        job=request.job,
        x=_axis(request.x, x),
        y=_axis(request.y, y),
        provenance=points[0].provenance if points else None,
        points=sorted(drawn, key=lambda point: (point.x, point.y)),
        left_out=[
            LeftOut(name=row.label, device_name=row.device_name, reason=why) for row, why in left_out if why is not None
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


def _value(figure: Figure, row: VariantRow) -> float:
    value = figure.read(row)
    assert value is not None  # rows without it were left out
    return value


def _names(row: VariantRow) -> dict[str, str | None]:
    fields = ("variant_id", "device_id", "device_name", "run_id")
    return {"name": row.label} | {field: getattr(row, field) for field in fields}
