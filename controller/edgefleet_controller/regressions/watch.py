"""Looks for changes in what was measured again, and stores what it finds with a message for each webhook."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Regression, Webhook, WebhookDelivery
from edgefleet_controller.jobs.events import record_event
from edgefleet_controller.regressions import repository
from edgefleet_controller.regressions.change import Change, find_change
from edgefleet_controller.regressions.repository import Measurement
from edgefleet_controller.services import Services

BATCH = 200
SETTLED = timedelta(seconds=5)
"""Results younger than this wait for the next look: another one, stamped before them, may be about to be committed."""
FIGURES = ("latency_p50_ms", "energy_mj")


def watch_regressions(services: Services) -> datetime | None:
    """Look at the results that came since the last look, of all API processes together; when to look again, if at all."""
    now = services.clock.now()
    until = now - SETTLED
    with services.database.reading() as session:
        if not repository.has_news(session, until):
            return now + SETTLED if repository.has_news(session, now) else None
    with services.database.writing() as session:
        cursor = repository.lock_cursor(session, until)
        arrived = repository.results_after(session, cursor, until, BATCH)
        for measurement in repository.measurements_of(session, [run_id for _, run_id in arrived]):
            look_at(session, measurement)
        if arrived:
            cursor.at, cursor.run_id = arrived[-1]
    return now if len(arrived) == BATCH else now + SETTLED


def look_at(session: Session, last: Measurement) -> list[Regression]:
    """The changes that this measurement shows, stored."""
    history = repository.history_until(session, last)
    known = repository.changed_runs(session, last)
    found = []
    for figure in FIGURES:
        series = since_last_change(history, known.get(figure, ()), figure)
        if not series or series[-1].run_id != last.run_id:
            continue
        values = [float(getattr(one, figure)) for one in series]
        change = find_change(values, seed=_seed(last.run_id, figure)) if min(values) > 0 else None
        if change is not None:
            found.append(_store(session, last, series, figure, change))
    return found


def since_last_change(history: Sequence[Measurement], changed: Sequence[str], figure: str) -> list[Measurement]:
    """The measurements with this figure from the last known change on: what was found once is not found again."""
    starts = [index for index, one in enumerate(history) if one.run_id in changed]
    return [one for one in history[max(starts, default=0) :] if getattr(one, figure) is not None]


def _seed(run_id: str, figure: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{run_id} {figure}".encode()).digest()[:8])


def _store(
    session: Session, last: Measurement, series: Sequence[Measurement], figure: str, change: Change
) -> Regression:
    row = Regression(
        id=new_id("reg"),
        project_id=last.project_id,
        device_id=last.device_id,
        artifact_sha256=last.artifact_sha256,
        run_id=last.run_id,
        changed_run_id=series[change.at].run_id,
        figure=figure,
        direction="worse" if change.ratio > 1 else "better",
        ratio=change.ratio,
        before=change.before,
        after=change.after,
        n_before=change.at,
        n_after=len(series) - change.at,
        p_value=change.p_value,
        created_at=now_of(session),
    )
    session.add(row)
    session.flush()
    message = f"{figure} became {row.direction}: {row.before:.4g} -> {row.after:.4g} ({row.ratio - 1:+.1%})"
    record_event(session, last.job_id, "regression_found", message, regression_id=row.id, run_id=last.run_id)
    announce(session, "regression", row.id)
    _queue_messages(session, row)
    return row


def _queue_messages(session: Session, row: Regression) -> None:
    hooks = session.scalars(select(Webhook.id).where(Webhook.project_id == row.project_id))
    session.add_all(
        WebhookDelivery(
            id=new_id("dlv"),
            webhook_id=webhook_id,
            regression_id=row.id,
            state="queued",
            due_at=row.created_at,
            created_at=row.created_at,
        )
        for webhook_id in hooks
    )
