"""Collects what the page of a job shows, and what of it changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Job, JobEvent, Run, Variant
from edgefleet_controller.jobs import repository
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.jobs.training import TrainingPoint, last_events, last_training_event, training_points
from edgefleet_controller.results.rows import EMULATED, TRUSTED
from edgefleet_controller.results.schemas import VariantRow
from edgefleet_controller.results.service import variant_rows
from edgefleet_controller.web.charts import Axis, Chart, Point, Series, Table

N_EVENTS = 200
MAX_STEPS = 300
"""Variants whose steps are listed; those of a larger job are found in the list of results and by the command line."""
MAX_ROWS = 500
"""Runs of a job whose table is written whole; a larger one is looked at in the list of results."""

GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "loss": ("Loss", ("train_loss", "validation_loss")),
        "share": ("Accuracy and sparsity", ("validation_accuracy", "sparsity")),
        "rest": ("Thresholds and other figures", ()),
    }
)
"""Charts of trainings: their titles and figures; the last one has all others."""


@dataclass(frozen=True)
class JobPage:
    """What the page shows. rows: None where there are too many."""

    job: Job
    variants: list[Variant]
    n_variants: int
    has_artifacts: bool
    """there is something to measure again"""
    rows: list[VariantRow] | None
    n_runs: int
    events: list[JobEvent]
    last_training: int

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.job.state in repository.ENDED

    @property
    def n_measured(self) -> int:
        """Rows whose figures may be drawn: tells a changed front."""
        return sum(row.latency_ms is not None for row in self.rows or ())


def job_page(session: Session, job_id: str) -> JobPage:
    """The page's content; NotFound if there is no such job."""
    job = jobs.find(session, job_id)
    n_runs = session.scalar(select(func.count(Run.id)).where(Run.job_id == job.id)) or 0
    compiled = select(Variant.id).where(Variant.job_id == job.id, Variant.artifact_key.is_not(None))
    return JobPage(
        job=job,
        variants=repository.variants_of(session, job.id, limit=MAX_STEPS),
        n_variants=session.scalar(select(func.count(Variant.id)).where(Variant.job_id == job.id)) or 0,
        has_artifacts=session.scalar(compiled.limit(1)) is not None,
        rows=variant_rows(session, job.id) if n_runs <= MAX_ROWS else None,
        n_runs=n_runs,
        events=last_events(session, job.id, N_EVENTS),
        last_training=last_training_event(session, job.id),
    )


def curves_of(session: Session, job_id: str, group: str) -> Chart:
    """One group of figures of the job's trainings, over the share of the step that was done."""
    points = training_points(session, jobs.find(session, job_id).id)
    title, wanted = GROUPS[group]
    named = [name for _, names in GROUPS.values() for name in names]
    figures = dict.fromkeys(name for point in points for name in point.figures)
    chosen = [name for name in figures if name in wanted or (not wanted and name not in named)]
    variants = list(dict.fromkeys(point.variant for point in points))
    series = [_curve(points, variant, name, len(variants) > 1) for variant in variants for name in chosen]
    rows = [
        (f"{100 * point.fraction:.0f} %", point.variant, *(point.figures.get(name) for name in chosen))
        for point in points
    ]
    return Chart(
        Axis("share of the training done", "share", low=0.0, high=1.0),
        Axis(title.lower(), "share" if group == "share" else "value", from_zero=group == "share"),
        [one for one in series if one.points],
        Table(["done", "variant", *(_words(name) for name in chosen)], rows),
        nothing="No training has reported yet",
    )


def _curve(points: Sequence[TrainingPoint], variant: str, name: str, has_others: bool) -> Series:
    drawn = [
        Point(point.fraction, point.figures[name])
        for point in points
        if point.variant == variant and name in point.figures
    ]
    return Series(f"{variant}: {_words(name)}" if has_others else _words(name), "line", drawn)


def _words(name: str) -> str:
    return name.replace("_", " ")


def front_of(rows: Sequence[VariantRow]) -> Chart:
    """Accuracy against latency, each board apart: filled points are on the front of their board."""
    drawn = [row for row in rows if _is_drawn(row)]
    # simulated figures stand beside measured ones only where they are asked for, on the page of the front
    drawn = [row for row in drawn if row.provenance == "measured"] or drawn
    groups = dict.fromkeys((row.device_name, row.provenance) for row in drawn)
    series = []
    for device, provenance in groups:
        members = [row for row in drawn if (row.device_name, row.provenance) == (device, provenance)]
        name = str(device) if provenance == "measured" else f"{device} ({provenance})"
        series.append(Series(name, "scatter", [_front_point(row) for row in members]))
    table = [
        (row.label, row.device_name, row.latency_ms.p50, row.accuracy_device, "yes" if row.on_front else "no")
        for row in drawn
        if row.latency_ms is not None
    ]
    return Chart(
        Axis("median latency, ms"),
        Axis("accuracy on the board", "share"),
        series,
        Table(["variant", "board", "median latency, ms", "accuracy", "on the front of its board"], table),
        nothing="No variant has both figures yet",
    )


def _is_drawn(row: VariantRow) -> bool:
    has_both = row.latency_ms is not None and row.latency_ms.p50 is not None and row.accuracy_device is not None
    return has_both and row.verdict.status in TRUSTED and row.provenance != EMULATED


def _front_point(row: VariantRow) -> Point:
    assert row.latency_ms is not None
    assert row.latency_ms.p50 is not None
    return Point(
        row.latency_ms.p50,
        row.accuracy_device,
        label=row.label,
        note="" if row.verdict.status == "valid" else row.verdict.status,
        href=f"/runs/{row.run_id}",
        y_interval=row.accuracy_interval,
        x_interval=row.latency_ms.intervals.get("p50"),
        is_strong=row.on_front,
        is_hatched=row.provenance != "measured",
    )
