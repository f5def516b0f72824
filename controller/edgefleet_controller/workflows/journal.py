"""The states of a job and its variants, and its log. A stopped job or an ended variant is never moved again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.db.database import Database, now_of
from edgefleet_controller.db.tables import Artifact, Compression, Job
from edgefleet_controller.jobs.closing import close_if_done, finish
from edgefleet_controller.jobs.events import mark_changed, record_event
from edgefleet_controller.jobs.progress import share_done
from edgefleet_controller.workflows import repository
from edgefleet_controller.workflows.compiled import stored_files
from edgefleet_controller.workflows.repository import JOB_ENDED, JOB_STOPPING, VARIANT_ENDED, VariantWork

JsonObject = dict[str, Any]

MEDIA_TYPES: Mapping[str, str] = {"safetensors": "application/x-safetensors", "onnx": "application/x-onnx"}


ARTIFACT_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class StartedJob:
    """What the first tasks need of a job."""

    job_id: str
    variant_ids: tuple[str, ...]
    model_id: str
    model_sha256: str
    model_format: str
    data: JsonObject | None
    is_prepared: bool


class Journal:
    """Moves jobs and variants through their states, one transaction a call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start_job(self, job_id: str) -> StartedJob | None:
        """Mark the job as running; None when it was stopped or has ended."""
        with self._database.writing() as session:
            job = repository.locked_job(session, job_id)
            if job.state in JOB_STOPPING or job.state in JOB_ENDED:
                return None
            if job.state == "queued":
                job.state, job.started_at = "running", now_of(session)
                record_event(session, job_id, "started", "the job runs")
                _touch(session, job, "prepares the data")
            model = repository.find_model(session, job.model_id)
            return StartedJob(
                job_id=job_id,
                model_id=model.id,
                variant_ids=tuple(variant.id for variant in repository.variants_of(session, job_id)),
                model_sha256=model.blob_sha256,
                model_format=model.format,
                data=model.data,
                is_prepared=job.prepared is not None,
            )

    def reuse_prepared_data(self, job: StartedJob, key_sha256: str, is_stored: Callable[[str], bool]) -> bool:
        """Take the evaluation set of an earlier job of the same model and data; False where there is none."""
        with self._database.writing() as session:
            earlier = repository.prepared_before(session, job.model_id, key_sha256)
            if earlier is None or (earlier.evaluation_sha256 and not is_stored(earlier.evaluation_sha256)):
                return False
            mine = repository.locked_job(session, job.job_id)
            mine.prepared, mine.evaluation_sha256 = earlier.prepared, earlier.evaluation_sha256
            record_event(session, job.job_id, "data_cached", "takes the evaluation set of an earlier job")
            return True

    def store_prepared_data(self, job_id: str, evaluation: BlobRef | None, result: JsonObject, key_sha256: str) -> None:
        """Remember the evaluation set and what is known of the data."""
        with self._database.writing() as session:
            job = repository.locked_job(session, job_id)
            if evaluation is not None:
                repository.add_blob(
                    session, evaluation.sha256, evaluation.size_bytes, "application/x-npz", now_of(session)
                )
                job.evaluation_sha256 = evaluation.sha256
            stored = evaluation.model_dump(mode="json") if evaluation else None
            job.prepared = result | {"evaluation": stored, "key_sha256": key_sha256}
            record_event(
                session,
                job_id,
                "data_prepared",
                f"{result.get('n_evaluation') or 0} evaluation samples",
                prepared=result,
            )

    def fail_job(self, job_id: str, error: JsonObject) -> None:
        """End the job and all its variants with the error that stopped it."""
        with self._database.writing() as session:
            job = repository.locked_job(session, job_id)
            for variant in repository.variants_of(session, job_id):
                if variant.state not in VARIANT_ENDED:
                    variant.state, variant.error = "failed", error
            if job.state not in JOB_ENDED and job.state not in JOB_STOPPING:
                job.error = error
                finish(session, job, "failed")
                record_event(session, job_id, "failed", error["message"], error=error)

    def enter(self, variant_id: str, state: str) -> VariantWork | None:
        """Move the variant into a step; None when there is nothing to do for it any more."""
        with self._database.writing() as session:
            repository.lock_job_of(session, variant_id)
            work = repository.load_variant_work(session, variant_id)
            if work.is_stopped:
                return None
            if state == "compressing":
                repository.advance_fair_clock(session, work.fair_tag, work.priority)
            set_state(session, work, state, f"{work.name}: {state}")
            return work

    def close_if_done(self, job_id: str) -> None:
        """Close the job if all its variants have ended."""
        with self._database.writing() as session:
            close_if_done(session, job_id)

    def note(self, work: VariantWork, kind: str, message: str, **detail: Any) -> None:
        """Add an entry about the variant to the job's log."""
        with self._database.writing() as session:
            record_event(session, work.job_id, kind, message, variant_id=work.variant_id, **detail)

    def look_up(self, variant_id: str) -> VariantWork:
        """What is known of the variant now; nothing is moved."""
        with self._database.reading() as session:
            return repository.load_variant_work(session, variant_id)

    def fail_variant(self, work: VariantWork, state: str, error: JsonObject) -> None:
        """End one variant; the others go on."""
        with self._database.writing() as session:
            variant = repository.find_variant(session, work.variant_id)
            if variant.state in VARIANT_ENDED:
                return
            variant.state, variant.error = "failed", error | {"during": state}
            message = f"{work.name}: {error['code']}: {error['message']}"
            record_event(session, work.job_id, "variant_failed", message, variant_id=work.variant_id, error=error)
            _touch(session, repository.locked_job(session, work.job_id), message)
            close_if_done(session, work.job_id)

    def reuse_compression(self, work: VariantWork, key_sha256: str, is_stored: Callable[[str], bool]) -> bool:
        """Take a cached candidate; False when there is none, or its file is gone."""
        with self._database.writing() as session:
            row = repository.find_compression(session, key_sha256)
            if row is None or not is_stored(row.candidate_sha256):
                return False
            variant = repository.find_variant(session, work.variant_id)
            variant.compression_key, variant.compression_cached = key_sha256, True
            message = f"{work.name}: reuses a cached compression ({row.cost_s:.1f} s saved)"
            record_event(session, work.job_id, "compression_cached", message, variant_id=work.variant_id)
            _touch(session, repository.locked_job(session, work.job_id), message)
            return True

    def store_compression(self, work: VariantWork, row: Compression, blob: BlobRef) -> None:
        """Keep a new candidate; a repeated step or ``no_cache`` replaces the row by the newest result."""
        with self._database.writing() as session:
            media_type = MEDIA_TYPES[_extension(str(row.result["candidate"]))]
            repository.add_blob(session, blob.sha256, blob.size_bytes, media_type, now_of(session))
            session.merge(row)
            session.flush()
            variant = repository.find_variant(session, work.variant_id)
            variant.compression_key, variant.compression_cached = row.key_sha256, False
            message = f"{work.name}: compressed in {row.cost_s:.1f} s"
            detail = {"stats": row.result.get("stats"), "notes": row.result.get("notes")}
            record_event(session, work.job_id, "compressed", message, variant_id=work.variant_id, **detail)

    def store_partial(self, work: VariantWork, name: str, blob: BlobRef) -> None:
        """Keep what the finished passes of a failed recipe made; the variant's error names it, which keeps the file."""
        with self._database.writing() as session:
            repository.add_blob(session, blob.sha256, blob.size_bytes, MEDIA_TYPES[_extension(name)], now_of(session))
            message = f"{work.name}: keeps what the passes before made"
            record_event(session, work.job_id, "partial_kept", message, variant_id=work.variant_id, sha256=blob.sha256)

    def candidate_of(self, work: VariantWork) -> tuple[str, str]:
        """Hash and file name of the variant's candidate."""
        with self._database.reading() as session:
            variant = repository.find_variant(session, work.variant_id)
            assert variant.compression_key is not None
            row = repository.find_compression(session, variant.compression_key)
            assert row is not None
            return row.candidate_sha256, str(row.result["candidate"])

    def reuse_artifact(self, work: VariantWork, key_sha256: str, is_stored: Callable[[str], bool]) -> bool:
        """Take a cached artifact; False when there is none, or its file is gone."""
        with self._database.writing() as session:
            row = repository.find_artifact(session, key_sha256)
            if row is None or not all(is_stored(sha256) for sha256 in stored_files(row)):
                return False
            repository.find_variant(session, work.variant_id).artifact_key = key_sha256
            message = f"{work.name}: reuses a cached artifact, {row.size_bytes:,} bytes"
            record_event(session, work.job_id, "artifact_cached", message, variant_id=work.variant_id)
            return True

    def store_artifact(self, work: VariantWork, row: Artifact, beside: Sequence[BlobRef]) -> None:
        """Keep a new artifact and the npz files that belong to it."""
        with self._database.writing() as session:
            repository.add_blob(session, row.sha256, row.size_bytes, ARTIFACT_MEDIA_TYPE, now_of(session))
            for blob in beside:
                repository.add_blob(session, blob.sha256, blob.size_bytes, "application/x-npz", now_of(session))
            session.merge(row)
            session.flush()
            repository.find_variant(session, work.variant_id).artifact_key = row.key_sha256
            message = f"{work.name}: compiled for {row.target}, {row.size_bytes:,} bytes"
            detail = {"parity": row.manifest.get("parity"), "notes": row.manifest.get("notes")}
            record_event(session, work.job_id, "compiled", message, variant_id=work.variant_id, **detail)

    def say(self, job_id: str, message: str) -> None:
        """Show a passing message to those who follow the job; it is not logged."""
        with self._database.writing() as session:
            job = repository.locked_job(session, job_id)
            if job.state == "running":
                _touch(session, job, message)


def set_state(session: Session, work: VariantWork, state: str, message: str) -> None:
    """Move the variant and tell the job's followers."""
    variant = repository.find_variant(session, work.variant_id)
    if variant.state != state:
        variant.state = state
        record_event(session, work.job_id, state, message, variant_id=work.variant_id)
    _touch(session, repository.locked_job(session, work.job_id), message)


def _touch(session: Session, job: Job, message: str) -> None:
    """Show the message and how far the job is to those who follow it."""
    session.flush()
    if job.state not in JOB_ENDED:
        states = [variant.state for variant in repository.variants_of(session, job.id)]
        job.progress, job.message = max(job.progress, share_done(states)), message
    mark_changed(session, job.id)


def _extension(name: str) -> str:
    return name.rpartition(".")[2]
