"""The tables. Times are aware UTC instants of the controller; figures carry their unit in the column's name.

Enumerations are CHECK constraints, so that no code path can store a provenance or a state that does not exist.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from edgefleet_controller.auth import caller
from edgefleet_controller.auth.caller import DEFAULT_PROJECT

JsonObject = dict[str, Any]


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite forgets the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Refuse naive instants and store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: pass an aware one")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Return an aware UTC instant."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Declarative base with named constraints, which migrations on SQLite need."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {JsonObject: JSON, list[Any]: JSON, datetime: UtcDateTime}  # noqa: RUF012  # read once by SQLAlchemy


def one_of(column: str, *values: str) -> CheckConstraint:
    """A CHECK that the column holds one of the values (or NULL where it is nullable)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


PROVENANCES = ("measured", "simulated", "replayed", "emulated", "imported")
DEVICE_KINDS = ("physical", "simulated", "emulated", "replay")
DEVICE_STATES = ("registered", "pending", "active", "held", "draining", "quarantined", "revoked")
JOB_STATES = ("waiting", "queued", "running", "cancelling", "cancelled", "completed", "failed")
JOB_PRIORITIES = ("low", "normal", "high")
COMPUTE_CLASSES = ("cpu", "gpu")
VARIANT_STATES = ("queued", "compressing", "compiling", "dispatched", "completed", "failed", "cancelled")
RUN_STATES = ("queued", "leased", "completed", "failed", "cancelled")
RUN_KINDS = ("measure", "ab", "aa")
ROLLOUT_STATES = ("canary", "rolling", "completed", "stopped", "cancelled")
UPDATE_STATES = ("pending", "offered", "updated", "failed", "rolled_back")
COMPARISON_KINDS = ("ab", "aa")
ANALYSIS_STATES = ("queued", "running", "completed", "failed", "cancelled")
OUTCOMES = ("faster", "slower", "no_difference")


class Blob(Base):
    """A content-addressed file in the blob store; the row exists only once the bytes are there.

    Of raw samples whose retention is over, the row stays and says so (``expired_at``) when the bytes are gone.
    """

    __tablename__ = "blobs"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    """the last upload or new reference after the first; collecting garbage leaves a grace from then on"""
    expired_at: Mapped[datetime | None]


class Project(Base):
    """Owns devices, models, jobs and comparisons; people have their roles in it."""

    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


def _project_column() -> Any:
    return mapped_column(
        ForeignKey("projects.id"), index=True, default=caller.project_for_new_rows, server_default=DEFAULT_PROJECT
    )


def _creator_column() -> Any:
    return mapped_column(default=caller.name_for_new_rows)


class Device(Base):
    """An enrolled (or registered, not yet enrolled) board."""

    __tablename__ = "devices"
    __table_args__ = (one_of("kind", *DEVICE_KINDS), one_of("state", *DEVICE_STATES))
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    board: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str]
    labels: Mapped[JsonObject]
    facts: Mapped[JsonObject | None]
    facts_sha256: Mapped[str | None]
    credential_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    agent_version: Mapped[str | None]
    last_seen_at: Mapped[datetime | None]
    enrolled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)
    project_id: Mapped[str] = _project_column()
    created_by: Mapped[str | None] = _creator_column()
    public_key: Mapped[str | None] = mapped_column(String(64))
    """ed25519 key made on the device, hexadecimal"""
    credential_issued_at: Mapped[datetime | None]
    previous_credential_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    """still accepted until previous_credential_until, after a rotation"""
    previous_credential_until: Mapped[datetime | None]
    changed_at: Mapped[datetime | None] = mapped_column(index=True)
    """last change that a claim's answer may depend on; other processes look for what is younger than their last look"""
    held_by: Mapped[str | None]
    """who keeps it from runs, why and until when; also of a drain and of a quarantine"""
    held_reason: Mapped[str | None]
    held_until: Mapped[datetime | None]
    windows: Mapped[list[Any] | None]
    """maintenance windows, see devices.windows"""
    cool_down_s: Mapped[float] = mapped_column(default=0.0, server_default="0")
    rests_until: Mapped[datetime | None]
    """end of the cool-down after its last run"""
    last_artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    """what it measured last and so still has; the next run of the same file goes to it first"""
    is_reserved: Mapped[bool] = mapped_column(default=False, server_default=false())
    """takes only runs that name it, or that no other board could do"""
    failures: Mapped[list[Any] | None]
    """its failed runs in a row, newest last: run_id, code, message"""


class Requirement(Base):
    """What a run needs of the device that takes it, where the device is not named."""

    __tablename__ = "requirements"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[JsonObject]
    created_at: Mapped[datetime]


class JoinToken(Base):
    """A one-time token; only its hash is kept."""

    __tablename__ = "join_tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    labels: Mapped[JsonObject]
    board: Mapped[str | None]
    """the only board kind it enrols; null: any"""
    serial: Mapped[str | None]
    """the only board serial it enrols; null: any"""
    auto_accept: Mapped[bool] = mapped_column(default=True, server_default=true())
    """without it the device waits in state pending until a person accepts it"""
    project_id: Mapped[str] = _project_column()
    created_by: Mapped[str | None] = _creator_column()
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Model(Base):
    """A network that a person registered."""

    __tablename__ = "models"
    __table_args__ = (one_of("format", "onnx", "safetensors"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    format: Mapped[str]
    blob_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    facts: Mapped[JsonObject]
    """what inspection found: inputs, outputs, n_parameters, architecture, opset"""
    data: Mapped[JsonObject | None]
    """data set: {"kind": "packaged", "name": ...} or {"kind": "npz", "sha256": ...}, or null"""
    project_id: Mapped[str] = _project_column()
    created_by: Mapped[str | None] = _creator_column()
    created_at: Mapped[datetime]


class Analysis(Base):
    """A look at a network before compression; the same network, data and options are looked at once."""

    __tablename__ = "analyses"
    __table_args__ = (one_of("state", *ANALYSIS_STATES),)
    id: Mapped[str] = mapped_column(primary_key=True)
    key_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    model_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    request: Mapped[JsonObject]
    """what the key was made of: model_format, data, recipes, n_samples, tools"""
    state: Mapped[str]
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    result: Mapped[JsonObject | None]
    error: Mapped[JsonObject | None]
    created_at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """when it was last asked for; of several analyses of a model the newest request is shown"""
    seen_at: Mapped[datetime | None]
    """last sign of the process that runs it; a running one without signs is begun again"""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Job(Base):
    """What a person asked for: one model, several recipes, targets and devices."""

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("state", *JOB_STATES),
        one_of("priority", *JOB_PRIORITIES),
        Index("ix_jobs_created_at", "created_at"),
        Index("ix_jobs_state", "state"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    state: Mapped[str]
    request: Mapped[JsonObject]
    evaluation_sha256: Mapped[str | None]
    prepared: Mapped[JsonObject | None]
    """what preparing the data found: data_sha256, n_evaluation, has_labels, calibration_source"""
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    error: Mapped[JsonObject | None]
    project_id: Mapped[str] = _project_column()
    created_by: Mapped[str | None] = _creator_column()
    """who submitted it, as fairness between people counts: a user's identifier, or the operator token's name"""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    """rises with every change that ``?wait=`` should report"""
    priority: Mapped[str] = mapped_column(default="normal", server_default="normal")
    fair_end: Mapped[int | None] = mapped_column(BigInteger)
    """where its user's next job of this priority begins, see ``jobs.fairness``"""
    deadline_at: Mapped[datetime | None]
    identity_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    """jobs with the same one make the same artifacts"""
    remeasure_of: Mapped[str | None]
    """the job whose artifacts this one only measures again"""
    n_restarts: Mapped[int] = mapped_column(default=0, server_default="0")
    """how often the watchdog began it again after its tasks were lost"""


class Compression(Base):
    """A cached compression: the same model, recipe, data, seed and tool versions give the same candidate."""

    __tablename__ = "compressions"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[JsonObject]
    candidate_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    result: Mapped[JsonObject]
    """the step's result: records, stats, notes"""
    cost_s: Mapped[float]
    created_at: Mapped[datetime]


class Artifact(Base):
    """A compiled file with its manifest; ``key_sha256`` caches the compilation."""

    __tablename__ = "artifacts"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[JsonObject]
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    target: Mapped[str]
    manifest: Mapped[JsonObject]
    accuracy_host: Mapped[JsonObject]
    created_at: Mapped[datetime]


class Variant(Base):
    """One recipe for one target within a job."""

    __tablename__ = "variants"
    __table_args__ = (
        one_of("state", *VARIANT_STATES),
        one_of("compute", *COMPUTE_CLASSES),
        UniqueConstraint("job_id", "ordinal"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    ordinal: Mapped[int]
    name: Mapped[str]
    recipe: Mapped[JsonObject]
    recipe_sha256: Mapped[str] = mapped_column(String(64))
    target: Mapped[str]
    state: Mapped[str]
    compression_key: Mapped[str | None] = mapped_column(ForeignKey("compressions.key_sha256"))
    compression_cached: Mapped[bool | None]
    artifact_key: Mapped[str | None] = mapped_column(ForeignKey("artifacts.key_sha256"))
    error: Mapped[JsonObject | None]
    fair_tag: Mapped[int] = mapped_column(BigInteger, default=10_000, server_default="10000")
    """its turn: lower ones are served first"""
    compute: Mapped[str] = mapped_column(default="cpu", server_default="cpu")
    """where it is compressed: cpu or gpu"""


class Comparison(Base):
    """What a person asked for: artifact A against B, or against itself, on several devices; one run for each."""

    __tablename__ = "comparisons"
    __table_args__ = (one_of("kind", *COMPARISON_KINDS),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    a_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    b_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    request: Mapped[JsonObject]
    """what was asked for, with the artifacts and devices it was resolved to"""
    project_id: Mapped[str] = _project_column()
    created_by: Mapped[str | None] = _creator_column()
    created_at: Mapped[datetime]


class Run(Base):
    """One artifact on one device, once, of a job or of a comparison. ``attempt`` fences every write about it."""

    __tablename__ = "runs"
    __table_args__ = (
        one_of("state", *RUN_STATES),
        one_of("kind", *RUN_KINDS),
        CheckConstraint(
            "(job_id IS NULL) = (variant_id IS NULL) AND (job_id IS NULL) = (comparison_id IS NOT NULL) "
            "AND (job_id IS NULL) = (kind <> 'measure')",
            name="has_one_owner",
        ),
        CheckConstraint(
            "device_id IS NOT NULL OR requirement_sha256 IS NOT NULL", name="has_a_device_or_a_requirement"
        ),
        CheckConstraint("device_id IS NOT NULL OR state <> 'leased'", name="is_leased_by_a_device"),
        Index("ix_runs_queue", "device_id", "state", "priority", "id"),
        Index("ix_runs_leases", "state", "lease_expires_at"),
        Index(
            "ix_runs_unassigned",
            "requirement_sha256",
            "priority",
            "id",
            sqlite_where=text("state = 'queued' AND device_id IS NULL"),
            postgresql_where=text("state = 'queued' AND device_id IS NULL"),
        ),
        Index(
            "ix_runs_same_artifact",
            "artifact_sha256",
            "device_id",
            "priority",
            "id",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        # one run at a time on a device
        Index(
            "uq_runs_leased_device",
            "device_id",
            unique=True,
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        UniqueConstraint("variant_id", "device_id", "settings_ordinal"),
        UniqueConstraint("variant_id", "settings_ordinal", "slot", name="uq_runs_slot"),
        UniqueConstraint("comparison_id", "device_id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default="measure", server_default="measure")
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    variant_id: Mapped[str | None] = mapped_column(ForeignKey("variants.id"))
    comparison_id: Mapped[str | None] = mapped_column(ForeignKey("comparisons.id"))
    settings_ordinal: Mapped[int] = mapped_column(default=0, server_default="0")
    """position among the settings that the job sweeps"""
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    """null while a run with a requirement waits for a device that meets it"""
    requirement_sha256: Mapped[str | None] = mapped_column(ForeignKey("requirements.sha256"))
    slot: Mapped[int | None]
    """which of the variant's runs with a requirement it is, from 0; each goes to another device"""
    leased_to: Mapped[str | None]
    """the agent's start and claim that it was handed to, see runs.orphans"""
    artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=100)
    order: Mapped[JsonObject]
    """the RunOrder without run_id, attempt and lease"""
    phase: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lease_expires_at: Mapped[datetime | None]
    error: Mapped[JsonObject | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Result(Base):
    """The report of a run and the figures that lists and fronts are made of, recomputed from the raw samples."""

    __tablename__ = "results"
    __table_args__ = (
        one_of("provenance", *PROVENANCES),
        one_of("verdict", "valid", "suspect", "invalid"),
        # energy without a sensor is null with a reason, never zero and never missing without one
        CheckConstraint("(energy_mj IS NULL) = (energy_reason IS NOT NULL)", name="energy_has_reason"),
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int]
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    report: Mapped[JsonObject]
    report_sha256: Mapped[str] = mapped_column(String(64))
    samples_sha256: Mapped[str | None] = mapped_column(ForeignKey("blobs.sha256"))
    """raw latency samples, or the blocks of a comparison"""
    provenance: Mapped[str]
    verdict: Mapped[str]
    latency_n: Mapped[int | None]
    latency_p50_ms: Mapped[float | None]
    latency_p90_ms: Mapped[float | None]
    latency_p99_ms: Mapped[float | None]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    accuracy: Mapped[float | None]
    energy_mj: Mapped[float | None]
    energy_reason: Mapped[str | None]
    energy_scope: Mapped[str | None]
    host_agreement: Mapped[JsonObject | None]
    """share, n, n_disagree, samples: the device's predictions against those of the compiling host"""
    metrics: Mapped[JsonObject | None]
    """f1_binary, f1_macro, mcc, n: of the device's predictions against the labels"""
    created_at: Mapped[datetime]


class ComparisonResult(Base):
    """The figures of an A/B or A/A run's result."""

    __tablename__ = "comparison_results"
    __table_args__ = (
        one_of("kind", *COMPARISON_KINDS),
        one_of("outcome", *OUTCOMES),
        CheckConstraint("(kind = 'ab') = (ratio IS NOT NULL) AND (kind = 'ab') = (outcome IS NOT NULL)", name="ab_has"),
        CheckConstraint("(kind = 'aa') = (n_false_positives IS NOT NULL)", name="aa_has"),
        CheckConstraint("ratio IS NULL OR ratio_low > 0", name="ratio_is_positive"),
        CheckConstraint("n_false_positives BETWEEN 0 AND n_comparisons", name="no_more_false_than_made"),
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("results.run_id"), primary_key=True)
    comparison_id: Mapped[str] = mapped_column(ForeignKey("comparisons.id"), index=True)
    kind: Mapped[str]
    ratio: Mapped[float | None]
    """latency of B over A"""
    ratio_low: Mapped[float | None]
    ratio_high: Mapped[float | None]
    confidence: Mapped[float | None]
    outcome: Mapped[str | None]
    n_pairs: Mapped[int | None]
    n_comparisons: Mapped[int | None]
    n_false_positives: Mapped[int | None]
    share_low: Mapped[float | None]
    """95 % Wilson interval of n_false_positives / n_comparisons"""
    share_high: Mapped[float | None]


class JobEvent(Base):
    """What happened in a job, in order; the log that pages and ``watch`` show."""

    __tablename__ = "job_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    variant_id: Mapped[str | None]
    kind: Mapped[str]
    message: Mapped[str]
    detail: Mapped[JsonObject]
    created_at: Mapped[datetime]


class IdempotencyKey(Base):
    """The stored answer to a request that may be repeated."""

    __tablename__ = "idempotency_keys"
    key: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    response: Mapped[JsonObject]
    created_at: Mapped[datetime]


class AgentRelease(Base):
    """A version of the agent to be installed on boards: a wheel in the blob store."""

    __tablename__ = "agent_releases"
    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(unique=True)
    wheel_name: Mapped[str]
    wheel_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    created_at: Mapped[datetime]


class Rollout(Base):
    """Brings a release to boards: a share of them first, the others when those are well."""

    __tablename__ = "rollouts"
    __table_args__ = (one_of("state", *ROLLOUT_STATES),)
    id: Mapped[str] = mapped_column(primary_key=True)
    release_id: Mapped[str] = mapped_column(ForeignKey("agent_releases.id"))
    state: Mapped[str]
    max_failures: Mapped[int]
    message: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RolloutDevice(Base):
    """How far a rollout is on one device."""

    __tablename__ = "rollout_devices"
    __table_args__ = (one_of("state", *UPDATE_STATES),)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    is_canary: Mapped[bool]
    state: Mapped[str]
    from_version: Mapped[str | None]
    message: Mapped[str | None]
    offered_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
