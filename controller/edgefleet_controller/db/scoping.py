"""Filters everything that a request reads by the projects its caller may act in.

One hook on every session instead of a condition in every query: a new query, or a new endpoint, is limited without
anybody thinking of it. What belongs to another project is not found, which the API answers with 404.
Sessions without a caller (engine, sweeper, devices) see everything.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, or_, select
from sqlalchemy.orm import DeclarativeBase, ORMExecuteState, with_loader_criteria

from edgefleet_controller.auth.caller import current_caller
from edgefleet_controller.db.tables import (
    Analysis,
    Artifact,
    Blob,
    BlobOwner,
    Comparison,
    Compression,
    Device,
    Job,
    JobEvent,
    JoinToken,
    Model,
    Regression,
    Result,
    Run,
    Study,
    StudyEvent,
    Trial,
    Variant,
    Webhook,
    WebhookDelivery,
)

UNSCOPED = "edgefleet_unscoped"
"""Execution option of the few statements that must see all projects' rows, such as whether a file is stored already."""

_OWNED: Sequence[type[DeclarativeBase]] = (
    Device,
    JoinToken,
    Model,
    Job,
    Comparison,
    Regression,
    Webhook,
    Study,
)


def limit_to_caller(state: ORMExecuteState) -> None:
    """The hook: ``event.listen(session, "do_orm_execute", limit_to_caller)``."""
    caller = current_caller()
    if caller is None or caller.projects is None or state.execution_options.get(UNSCOPED, False):
        return
    if state.is_select or state.is_update or state.is_delete:
        state.statement = state.statement.options(*_criteria(sorted(caller.projects)))


def _criteria(projects: Collection[str]) -> list[Any]:
    jobs = _keys(Job, projects)
    variants = select(_table(Variant).c.artifact_key).where(_table(Variant).c.job_id.in_(jobs))
    candidates = select(_table(Variant).c.compression_key).where(_table(Variant).c.job_id.in_(jobs))
    blobs = select(_table(BlobOwner).c.sha256).where(_table(BlobOwner).c.project_id.in_(projects))
    runs = _runs(_table(Run), projects)
    studies = _keys(Study, projects)
    limited: list[tuple[type[DeclarativeBase], ColumnElement[bool]]] = [
        *((owned, _column(owned, "project_id").in_(projects)) for owned in _OWNED),
        (Variant, Variant.job_id.in_(jobs)),
        (JobEvent, JobEvent.job_id.in_(jobs)),
        (Trial, Trial.study_id.in_(studies)),
        (StudyEvent, StudyEvent.study_id.in_(studies)),
        (Artifact, Artifact.key_sha256.in_(variants)),
        (Compression, Compression.key_sha256.in_(candidates)),
        (Blob, Blob.sha256.in_(blobs)),
        (Analysis, Analysis.model_sha256.in_(blobs)),
        (Run, or_(Run.job_id.in_(jobs), Run.comparison_id.in_(_keys(Comparison, projects)))),
        (WebhookDelivery, WebhookDelivery.webhook_id.in_(_keys(Webhook, projects))),
        (Result, Result.run_id.in_(select(_table(Run).c.id).where(runs))),
    ]
    return [with_loader_criteria(entity, criterion, include_aliases=True) for entity, criterion in limited]


def _runs(run: Table, projects: Collection[str]) -> ColumnElement[bool]:
    return or_(run.c.job_id.in_(_keys(Job, projects)), run.c.comparison_id.in_(_keys(Comparison, projects)))


def _keys(owned: type[DeclarativeBase], projects: Collection[str]) -> Select[Any]:
    """Identifiers of what the projects own; on the table, so that the criteria do not apply to themselves."""
    table = _table(owned)
    return select(table.c.id).where(table.c.project_id.in_(projects))


def _table(entity: type[DeclarativeBase]) -> Table:
    table = entity.__table__
    assert isinstance(table, Table)
    return table


def _column(entity: type[DeclarativeBase], name: str) -> Any:
    return getattr(entity, name)
