"""Reads and writes what is watched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Job, Regression, Result, Run, WatchCursor
from edgefleet_controller.db.tables.base import JsonObject
from edgefleet_controller.pagination import PageRequest, fetch_page
from edgefleet_controller.regressions.change import LONGEST_N

CURSOR = "results"
TRUSTED = ("valid", "suspect")


@dataclass(frozen=True)
class Measurement:
    """A measured result with what names its series."""

    run_id: str
    job_id: str
    project_id: str
    device_id: str
    artifact_sha256: str
    settings: JsonObject
    created_at: datetime
    latency_p50_ms: float | None
    energy_mj: float | None


def lock_cursor(session: Session, now: datetime) -> WatchCursor:
    """How far results were looked at, locked; made at its first use, from which on results are watched."""
    query = select(WatchCursor).where(WatchCursor.name == CURSOR).with_for_update()
    cursor = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if cursor is None:
        cursor = WatchCursor(name=CURSOR, at=now, run_id="")
        session.add(cursor)
        session.flush()
    return cursor


def has_news(session: Session, until: datetime) -> bool:
    """Whether the cursor was never set, or results came after it."""
    cursor = session.get(WatchCursor, CURSOR)
    return cursor is None or session.scalar(_after(select(Result.run_id), cursor, until).limit(1)) is not None


def results_after(session: Session, cursor: WatchCursor, until: datetime, limit: int) -> list[tuple[datetime, str]]:
    """Instants and runs of the next results, in order."""
    query = _after(select(Result.created_at, Result.run_id), cursor, until)
    rows = session.execute(query.order_by(Result.created_at, Result.run_id).limit(limit))
    return [(row.created_at, row.run_id) for row in rows]


def _after(query: Select[*tuple[object, ...]], cursor: WatchCursor, until: datetime) -> Select[*tuple[object, ...]]:
    later = or_(Result.created_at > cursor.at, and_(Result.created_at == cursor.at, Result.run_id > cursor.run_id))
    return query.where(later, Result.created_at <= until)


def _measurements() -> Select[*tuple[object, ...]]:
    """Completed measurements that are measured and may be relied on."""
    columns = (
        Result.run_id, Run.job_id, Job.project_id, Run.device_id, Run.artifact_sha256, Run.order["settings"].label("settings"),
        Result.created_at, Result.latency_p50_ms, Result.energy_mj,
    )  # fmt: skip
    query = select(*columns).join(Run, Run.id == Result.run_id).join(Job, Job.id == Run.job_id)
    return query.where(
        Result.provenance == "measured", Result.verdict.in_(TRUSTED), Run.kind == "measure", Run.state == "completed"
    )


def measurements_of(session: Session, run_ids: Sequence[str]) -> list[Measurement]:
    """Those of the runs that count, oldest first."""
    query = _measurements().where(Result.run_id.in_(run_ids), Run.artifact_sha256.is_not(None))
    return [_measurement(row) for row in session.execute(query.order_by(Result.created_at, Result.run_id))]


def history_until(session: Session, last: Measurement) -> list[Measurement]:
    """The artifact's measurements on the device with the same settings, in the same project, oldest first, ``last`` included."""
    query = _measurements().where(
        Run.artifact_sha256 == last.artifact_sha256,
        Run.device_id == last.device_id,
        Job.project_id == last.project_id,
        or_(
            Result.created_at < last.created_at,
            and_(Result.created_at == last.created_at, Result.run_id <= last.run_id),
        ),
    )
    newest = session.execute(query.order_by(Result.created_at.desc(), Result.run_id.desc()).limit(4 * LONGEST_N))
    same = [found for row in newest if (found := _measurement(row)).settings == last.settings]
    return same[:LONGEST_N][::-1]


def _measurement(row: object) -> Measurement:
    fields = {name: getattr(row, name) for name in Measurement.__dataclass_fields__}
    return Measurement(**fields | {"settings": fields["settings"] or {}})


def changed_runs(session: Session, last: Measurement) -> dict[str, list[str]]:
    """Figure -> the first runs after changes that were found in this artifact's figure on this device."""
    query = select(Regression.figure, Regression.changed_run_id).where(
        Regression.artifact_sha256 == last.artifact_sha256, Regression.device_id == last.device_id
    )
    found: dict[str, list[str]] = {}
    for figure, run_id in session.execute(query):
        found.setdefault(figure, []).append(run_id)
    return found


def page_of_regressions(
    session: Session, page: PageRequest, *, device_id: str | None, artifact_sha256: str | None, is_open: bool | None
) -> tuple[list[Regression], str | None]:
    """A page, newest first. is_open: only those that nobody has acknowledged, or only those that somebody has."""
    query = select(Regression)
    query = query.where(Regression.device_id == device_id) if device_id is not None else query
    query = query.where(Regression.artifact_sha256 == artifact_sha256) if artifact_sha256 is not None else query
    if is_open is not None:
        known = Regression.acknowledged_at
        query = query.where(known.is_(None) if is_open else known.is_not(None))
    return fetch_page(session, query, Regression.id, page)


def find(session: Session, regression_id: str) -> Regression | None:
    """The change."""
    return session.scalars(select(Regression).where(Regression.id == regression_id)).one_or_none()


def newest_id(session: Session) -> str:
    """The identifier of the newest change; empty without any."""
    return session.scalar(select(Regression.id).order_by(Regression.id.desc()).limit(1)) or ""


def regressions_after(session: Session, regression_id: str, limit: int) -> list[Regression]:
    """Changes that were found after this one, oldest first."""
    query = select(Regression).where(Regression.id > regression_id).order_by(Regression.id).limit(limit)
    return list(session.scalars(query))
