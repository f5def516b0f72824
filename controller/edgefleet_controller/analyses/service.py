"""Asks for analyses, finds them, and records how they go."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.orm import Session

from edgefleet_controller.analyses import repository
from edgefleet_controller.analyses.schemas import AnalysisCreate
from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Analysis
from edgefleet_controller.errors import NotFound, StateForbids
from edgefleet_controller.jobs.service import choose_recipe
from edgefleet_controller.models import service as models
from edgefleet_controller.workflows.keys import tool_versions

JsonObject = dict[str, Any]

TOOLS: Final = ("edgefleet", "torch", "torch-pruning", "numpy")
FORM: Final = 1
"""Raised when the document of an analysis changes, so that an older one is not taken for a new one."""
UNENDED: Final = ("queued", "running")
SILENCE: Final = timedelta(seconds=60)
"""After so long without a sign its process is taken for dead; a sign comes every few seconds."""


def request(session: Session, model_reference: str, wanted: AnalysisCreate) -> Analysis:
    """The analysis of this content, which is queued unless it was made, or is being made, before.

    One that failed or was cancelled is queued again. NotFound without the model; UnknownDataSet, UnknownRecipe and
    InvalidRecipe for what the request names.
    """
    model = models.find(session, model_reference)
    models.require_data(session, wanted.data)
    recipes = None if wanted.recipes is None else [choose_recipe(one) for one in wanted.recipes]
    asked: JsonObject = {
        "form": FORM,
        "model_format": model.format,
        "data": wanted.data.model_dump(mode="json") if wanted.data is not None else model.data,
        "recipes": None if recipes is None else [recipe.model_dump(mode="json") for recipe in recipes],
        "n_samples": wanted.n_samples,
        "tools": tool_versions(TOOLS),
    }
    key_sha256, now = canonical_sha256({"model_sha256": model.blob_sha256, **asked}), now_of(session)
    row = repository.find_by_key(session, key_sha256)
    if row is None:
        row = Analysis(
            id=new_id("ana"),
            key_sha256=key_sha256,
            model_sha256=model.blob_sha256,
            request=asked,
            state="queued",
            message="waits for its turn",
            created_at=now,
            requested_at=now,
        )
        session.add(row)
    row.requested_at = now
    if row.state in ("failed", "cancelled"):
        row.state, row.message, row.progress = "queued", "waits for its turn", 0.0
        row.error = row.started_at = row.finished_at = None
    session.flush()
    return row


def find(session: Session, analysis_id: str) -> Analysis:
    """The analysis; NotFound if there is none."""
    row = repository.find(session, analysis_id)
    if row is None:
        raise NotFound(f"There is no analysis {analysis_id!r}; ask for one with `edgefleet model analyze`.")
    return row


def find_of_model(session: Session, model_reference: str) -> Analysis:
    """The model's analysis that was asked for last; NotFound if there is none."""
    model = models.find(session, model_reference)
    row = repository.newest_of_model(session, model.blob_sha256)
    if row is None:
        raise NotFound(
            f"Model {model.name!r} was not analysed yet; ask for it with `edgefleet model analyze {model.name}`."
        )
    return row


def cancel(session: Session, analysis_id: str) -> Analysis:
    """End a waiting or running analysis; repeating it changes nothing. StateForbids once it has ended by itself."""
    find(session, analysis_id)
    row = repository.find_locked(session, analysis_id)
    assert row is not None
    if row.state == "cancelled":
        return row
    if row.state not in UNENDED:
        raise StateForbids(f"The analysis has {row.state} already; there is nothing to cancel.")
    row.state, row.message, row.finished_at = "cancelled", "cancelled", now_of(session)
    session.flush()
    return row


def has_work(session: Session) -> bool:
    """Whether there is something to carry out; it only reads."""
    return repository.has_work(session, now_of(session) - SILENCE)


def next_silence(session: Session) -> datetime | None:
    """When a process that runs an analysis will have fallen silent, unless it gives a sign before."""
    seen_at = repository.oldest_sign(session)
    return seen_at + SILENCE if seen_at is not None else None


def claim(session: Session) -> Analysis | None:
    """The next analysis to carry out, marked as running; those whose process fell silent wait again first."""
    now = now_of(session)
    repository.queue_silent(session, now - SILENCE)
    return repository.claim_oldest(session, now)


def give_sign(session: Session, analysis_id: str) -> bool:
    """Say that it is still being worked on; False when that is not wanted any more."""
    row = repository.find_locked(session, analysis_id)
    if row is None or row.state != "running":
        return False
    row.seen_at = now_of(session)
    return True


def report(session: Session, analysis_id: str, message: str, event: Mapping[str, Any]) -> None:
    """Show how far it is."""
    row = repository.find_locked(session, analysis_id)
    if row is not None and row.state == "running":
        fraction = event.get("fraction")
        row.message = message
        row.progress = float(fraction) if isinstance(fraction, int | float) else row.progress


def put_back(session: Session, analysis_id: str) -> None:
    """Queue it again: this process stops before it is done."""
    row = repository.find_locked(session, analysis_id)
    if row is not None and row.state == "running":
        row.state, row.message = "queued", "waits for its turn"


def finish(session: Session, analysis_id: str, *, result: JsonObject | None, error: JsonObject | None) -> None:
    """Keep the result, or the error that stopped it; one that was cancelled meanwhile stays so."""
    row = repository.find_locked(session, analysis_id)
    if row is not None and row.state == "running":
        row.state = "completed" if error is None else "failed"
        row.result, row.error, row.finished_at = result, error, now_of(session)
        row.message, row.progress = row.state, 1.0
