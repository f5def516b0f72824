"""Accepts reports: checked before the transaction, stored for many devices in one, fenced by ``(run_id, attempt)``."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from edgefleet_agent.statistics import LatencyFigures
from edgefleet_agent.wire.messages import ReportRequest
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import RunReport
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import ComparisonResult, Device, Result
from edgefleet_controller.dispatch.roster import Card
from edgefleet_controller.errors import NotFound
from edgefleet_controller.runs import verification
from edgefleet_controller.runs.aftermath import Note
from edgefleet_controller.runs.agreement import check_predictions
from edgefleet_controller.runs.errors import ReportRefused, SamplesMissing, StaleAttempt
from edgefleet_controller.runs.faults import failure_of, why_quarantine, with_failure
from edgefleet_controller.runs.held import HeldRun, read_locked, write_ends
from edgefleet_controller.runs.records import comparison_result_of, result_of

JsonObject = dict[str, Any]
_RESULTS: Final = insert(Result.metadata.tables[Result.__tablename__])
"""Past the ORM, which would look at each row."""

SMALL_SAMPLES_BYTES: Final = 1 << 16
"""Some ten thousand latencies, compressed; what a report names beyond that is looked at beside the other reports."""


@dataclass(frozen=True)
class Handed:
    """A report that a device handed in, with what could be checked without the store."""

    card: Card
    request: ReportRequest
    document: JsonObject
    sha256: str
    figures: LatencyFigures | None
    refusal: ReportRefused | None


@dataclass(frozen=True)
class Completion:
    """What became of a report; a refusal has been recorded as the run's failure."""

    is_duplicate: bool = False
    refusal: ReportRefused | None = None
    note: Note | None = None
    card: Card | None = None
    """the device's card with what the run changed"""


@dataclass(frozen=True)
class Unchecked:
    """A report as it came, whose raw samples are still to be looked at."""

    card: Card
    request: ReportRequest

    @property
    def is_small(self) -> bool:
        """Whether its check takes a millisecond or two where the files lie on this host, so that others may wait for it."""
        return sum(ref.size_bytes for ref in self.request.report.samples.values()) <= SMALL_SAMPLES_BYTES


def check_report(card: Card, request: ReportRequest, blobs: BlobStore) -> Handed:
    """Compute the figures from the raw samples; a report that disagrees with them carries its refusal."""
    report = request.report
    document = report.model_dump(mode="json")
    figures, refusal = None, None
    try:
        figures = _figures(report, blobs)
    except ReportRefused as err:
        refusal = err
    return Handed(card, request, document, hash_document(document), figures, refusal)


def _figures(report: RunReport, blobs: BlobStore) -> LatencyFigures | None:
    if report.is_comparison or report.latency_ms is None:
        verification.require_uploaded_samples(report, blobs)
        if report.is_comparison:
            verification.require_blocks(report, blobs)
            return None
    else:
        verification.require_uploaded_samples(report, blobs, but=verification.LATENCY_SAMPLES)
    try:
        return verification.recompute_latency(report, blobs)
    except NotFound:
        verification.require_uploaded_samples(report, blobs)
        raise


def hash_document(document: Mapping[str, Any]) -> str:
    """SHA-256 of a report in canonical JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def complete_all(
    session: Session, handed: Sequence[Handed], blobs: BlobStore, quarantine_after: int
) -> list[Completion | Exception]:
    """Accept each report once; the same again is a duplicate, one of an older attempt is refused with StaleAttempt.

    A report that contradicts its order, device or samples fails the run and is not stored.
    """
    runs = read_locked(session, {one.request.run_id for one in handed})
    stored, rows = _accepted(session, [one for one in handed if not _is_held(runs, one)]), _Rows(runs.values())
    answers: list[Completion | Exception] = []
    for one in handed:
        run = runs.get(one.request.run_id)
        answer = _complete(session, run, one, stored, blobs, rows)
        if isinstance(answer, Completion) and not answer.is_duplicate and run is not None:
            changes = _bookkeeping(session, run, one.card, quarantine_after)
            rows.devices.append(changes)
            note, card = _note(run, one.request.report), _with(one.card, changes)
            answer = Completion(refusal=answer.refusal, note=note, card=card)
        answers.append(answer)
    rows.write(session)
    return answers


def _is_held(runs: Mapping[str, HeldRun], one: Handed) -> bool:
    """Whether the report is about the present attempt, so that no report of it can have been accepted yet."""
    run = runs.get(one.request.run_id)
    return run is not None and run.state == "leased" and run.attempt == one.request.attempt


def _accepted(session: Session, handed: Sequence[Handed]) -> dict[str, tuple[int, str]]:
    """Attempt and hash of the reports that were accepted of these runs."""
    if not handed:
        return {}
    query = select(Result.run_id, Result.attempt, Result.report_sha256)
    rows = session.execute(query.where(Result.run_id.in_({one.request.run_id for one in handed})))
    return {row.run_id: (row.attempt, row.report_sha256) for row in rows}


@dataclass
class _Rows:
    """What a batch writes."""

    runs: Iterable[HeldRun]
    results: list[JsonObject] = field(default_factory=list)
    comparisons: list[ComparisonResult] = field(default_factory=list)
    devices: list[JsonObject] = field(default_factory=list)

    def write(self, session: Session) -> None:
        """Insert and update many rows by few statements."""
        write_ends(session, self.runs)
        if self.results:
            session.execute(_RESULTS, self.results)
        session.add_all(self.comparisons)
        session.flush()
        changed = [one for one in self.devices if len(one) > 1]
        for keys in {tuple(sorted(one)) for one in changed}:
            session.execute(update(Device), [one for one in changed if tuple(sorted(one)) == keys])


def _complete(
    session: Session,
    run: HeldRun | None,
    one: Handed,
    stored: dict[str, tuple[int, str]],
    blobs: BlobStore,
    rows: _Rows,
) -> Completion | Exception:
    request = one.request
    if run is not None and run.device_id != one.card.id and run.requirement_sha256 is not None:
        return StaleAttempt()  # it was this device's perhaps, and may be any device's now
    if run is None or run.device_id != one.card.id:
        return NotFound("There is no such run of this device.")
    if stored.get(run.id) == (request.attempt, one.sha256):
        return Completion(is_duplicate=True)
    if run.state != "leased" or run.attempt != request.attempt:
        return StaleAttempt()
    try:
        _require_ordered(one, run)
        checked = check_predictions(session, run, request.report, blobs)
    except SamplesMissing as err:
        return err
    except ReportRefused as refusal:
        error = {"code": refusal.code, "message": refusal.message, "detail": dict(refusal.extra)}
        run.end("failed", now_of(session), error)
        return Completion(refusal=refusal)
    row = result_of(session, run, request.report, one.sha256, one.figures, one.document)
    rows.results.append(row | {"host_agreement": checked.agreement, "metrics": checked.metrics})
    compared = comparison_result_of(run, request.report)
    rows.comparisons += [compared] if compared is not None else []
    stored[run.id] = (request.attempt, one.sha256)
    _end(session, run, request.report)
    return Completion()


def _require_ordered(one: Handed, run: HeldRun) -> None:
    report = one.request.report
    verification.require_provenance(one.card.kind, report)
    verification.require_ordered_artifact(run.order, report)
    verification.require_ordered_kind(run.order, report)
    if one.refusal is not None:
        raise one.refusal


def _end(session: Session, run: HeldRun, report: RunReport) -> None:
    if report.error is None:
        run.end("completed", now_of(session))
    elif report.error.code is ErrorCode.CANCELLED and run.cancel_requested:
        run.end("cancelled", now_of(session))
    else:
        run.end("failed", now_of(session), report.error.model_dump(mode="json"))


def _note(run: HeldRun, report: RunReport) -> Note:
    said = {
        "completed": f"{report.provenance.value}, {report.verdict.status.value}",
        "cancelled": "the agent stopped the run",
        "failed": f"{(run.error or {}).get('code')}: {(run.error or {}).get('message')}",
    }
    return Note(
        kind=f"run_{run.state}",
        message=said[run.state],
        run_id=run.id,
        attempt=run.attempt,
        job_id=run.job_id,
        variant_id=run.variant_id,
        comparison_id=run.comparison_id,
        variant_name=run.variant_name,
        is_end=True,
    )


def _bookkeeping(session: Session, run: HeldRun, card: Card, quarantine_after: int) -> JsonObject:
    """What changes in the device's row; the identifier alone where nothing does."""
    changes: JsonObject = {"id": card.id}
    if run.artifact_sha256 is not None and run.artifact_sha256 != card.last_artifact_sha256:
        changes["last_artifact_sha256"] = run.artifact_sha256
    if card.cool_down_s > 0:
        changes["rests_until"] = now_of(session) + timedelta(seconds=card.cool_down_s)
    failure = failure_of(run.id, run.artifact_sha256, run.error or {}) if run.state == "failed" else None
    if failure is not None:
        failures = with_failure(card.failures, failure)
        changes["failures"] = failures
        reason = why_quarantine(failures, quarantine_after)
        if reason is not None and card.state == "active":
            _quarantine(session, card, reason)
    elif run.state == "completed" and card.failures:
        changes["failures"] = []
    if len(changes) > 1:
        changes["changed_at"] = now_of(session)
    return changes


def _with(card: Card, changes: Mapping[str, Any]) -> Card:
    known = {name: value for name, value in changes.items() if name != "id"}
    if "failures" in known:
        known["failures"] = tuple(known["failures"])
    return replace(card, **known) if known else card


def _quarantine(session: Session, card: Card, reason: str) -> None:
    values: JsonObject = {"state": "quarantined", "held_by": "controller", "held_reason": reason, "held_until": None}
    statement = update(Device).where(Device.id == card.id, Device.state == "active")
    values |= {"version": Device.version + 1, "changed_at": now_of(session)}
    session.execute(statement.values(**values).execution_options(synchronize_session=False))
    announce(session, "device_changed", card.id)
