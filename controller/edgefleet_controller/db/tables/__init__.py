"""The tables, a module for each feature. They are imported from here, so that ``Base.metadata`` is never half of them."""

from edgefleet_controller.db.tables.artifacts import Artifact, Compression
from edgefleet_controller.db.tables.audit import AuditEntry
from edgefleet_controller.db.tables.base import Base, UtcDateTime
from edgefleet_controller.db.tables.blobs import Blob, BlobOwner
from edgefleet_controller.db.tables.comparisons import Comparison, ComparisonResult
from edgefleet_controller.db.tables.devices import Device, JoinToken
from edgefleet_controller.db.tables.idempotency import IdempotencyKey
from edgefleet_controller.db.tables.jobs import JOB_STATES, FairClock, Job, JobDependency, JobEvent, Variant
from edgefleet_controller.db.tables.models import Analysis, Model
from edgefleet_controller.db.tables.people import ROLES, ApiToken, Membership, Project, RefusalBucket, User, WebSession
from edgefleet_controller.db.tables.regressions import Regression, WatchCursor, Webhook, WebhookDelivery
from edgefleet_controller.db.tables.results import Result
from edgefleet_controller.db.tables.rollouts import AgentRelease, Rollout, RolloutDevice
from edgefleet_controller.db.tables.runs import Requirement, Run
from edgefleet_controller.db.tables.studies import Study, StudyEvent, Trial
from edgefleet_controller.db.tables.workers import LeaderLease, StepClaim, Worker

__all__ = [
    "JOB_STATES",
    "ROLES",
    "AgentRelease",
    "Analysis",
    "ApiToken",
    "Artifact",
    "AuditEntry",
    "Base",
    "Blob",
    "BlobOwner",
    "Comparison",
    "ComparisonResult",
    "Compression",
    "Device",
    "FairClock",
    "IdempotencyKey",
    "Job",
    "JobDependency",
    "JobEvent",
    "JoinToken",
    "LeaderLease",
    "Membership",
    "Model",
    "Project",
    "RefusalBucket",
    "Regression",
    "Requirement",
    "Result",
    "Rollout",
    "RolloutDevice",
    "Run",
    "StepClaim",
    "Study",
    "StudyEvent",
    "Trial",
    "User",
    "UtcDateTime",
    "Variant",
    "WatchCursor",
    "WebSession",
    "Webhook",
    "WebhookDelivery",
    "Worker",
]
