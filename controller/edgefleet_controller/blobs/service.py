"""Who may see and send which file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.auth.caller import current_caller, project_for_new_rows
from edgefleet_controller.blobs import repository
from edgefleet_controller.blobs.errors import NotLeased, SamplesExpired
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.database import Database, now_of
from edgefleet_controller.db.tables import Device
from edgefleet_controller.errors import NotFound
from edgefleet_controller.rollouts import repository as rollouts
from edgefleet_controller.runs import repository as runs
from edgefleet_controller.runs.errors import StaleAttempt

ORDERED_FILES = ("artifact", "evaluation", "golden")
"""Fields of a RunOrder that name a file."""


def record(database: Database, ref: BlobRef) -> bool:
    """Note a received file; True if it is new."""
    with database.writing() as session:
        is_new = repository.record_blob(session, ref, now_of(session))
        repository.own_blob(session, ref.sha256, project_of_caller(session))
        return is_new


def is_stored_for_caller(database: Database, blobs: BlobStore, sha256: str) -> bool:
    """Whether somebody of the caller's project sent the whole file before; of another's files nobody learns anything."""
    with database.reading() as session:
        is_owned = repository.is_owned(session, sha256, project_of_caller(session))
    return is_owned and blobs.exists(sha256)


def locate(session: Session, blobs: BlobStore, sha256: str) -> Path:
    """Where the file is; SamplesExpired if it was removed after its retention, NotFound if it was never there."""
    if not blobs.exists(sha256):
        row = repository.find_blob(session, sha256)
        if row is not None and row.expired_at is not None:
            raise SamplesExpired(f"The raw samples were removed on {row.expired_at:%Y-%m-%d}; their figures stay.")
    return blobs.path(sha256)


def require_readable(session: Session, sha256: str) -> None:
    """NotFound unless the file belongs to the caller's projects."""
    caller = current_caller()
    if caller is not None and caller.projects is not None and not repository.is_readable(session, sha256):
        raise NotFound(f"There is no file {sha256}.")


def project_of_caller(session: Session) -> str:
    """The project whose file it is that the caller sends: a board's own, a person's chosen one."""
    caller = current_caller()
    if caller is not None and caller.kind == "device":
        return session.get_one(Device, caller.name).project_id
    return project_for_new_rows()


def require_assigned(session: Session, device_id: str, sha256: str) -> None:
    """NotFound unless the file belongs to the order of the run that the device holds, or is the update offered to it."""
    run = runs.leased_run(session, device_id)
    order = run.order if run is not None else {}
    if sha256 in _files_of(order):
        return
    due = rollouts.find_due(session, device_id)
    if due is None or due[2].wheel_sha256 != sha256:
        raise NotFound("The device holds no run with this file.")


def _files_of(order: Mapping[str, Any]) -> set[str]:
    """Hashes of all files that an order names."""
    named = [order.get(name) for name in ORDERED_FILES]
    second = order.get("second")
    named += [] if second is None else [second["artifact"], second.get("golden")]
    return {ref["sha256"] for ref in named if ref is not None}


@dataclass(frozen=True)
class Upload:
    """A file that a device wants to send; ``run_id`` and ``attempt`` say for what, where the agent states them."""

    device_id: str
    sha256: str
    run_id: str | None = None
    attempt: int | None = None


def require_upload_allowed(database: Database, upload: Upload) -> None:
    """StaleAttempt or NotLeased unless the device holds the run, or repeats what its accepted report rests on."""
    with database.reading() as session:
        held = runs.leased_run(session, upload.device_id)
        if held is not None and upload.run_id in (None, held.id) and upload.attempt in (None, held.attempt):
            return
        if runs.owns_sample(session, upload.device_id, upload.sha256):
            return
    raise NotLeased if held is None else StaleAttempt
