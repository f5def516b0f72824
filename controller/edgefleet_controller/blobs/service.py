"""Who may see and send which file."""

from edgefleet_agent.wire.report import BlobRef
from sqlalchemy.orm import Session

from edgefleet_controller.blobs import repository
from edgefleet_controller.db.database import Database, now_of
from edgefleet_controller.errors import NotFound, NotLeased
from edgefleet_controller.runs import repository as runs


def record(database: Database, ref: BlobRef) -> bool:
    """Note a received file; True if it is new."""
    with database.writing() as session:
        return repository.record_blob(session, ref, now_of(session))


def require_assigned(session: Session, device_id: str, sha256: str) -> None:
    """NotFound unless the file belongs to the order of the run that the device holds."""
    run = runs.leased_run(session, device_id)
    order = run.order if run is not None else {}
    assigned = {(order.get(name) or {}).get("sha256") for name in ("artifact", "evaluation")}
    if sha256 not in assigned:
        raise NotFound("The device holds no run with this file.")


def require_upload_allowed(database: Database, device_id: str, sha256: str) -> None:
    """NotLeased unless the device holds a run, or sends again what an accepted report of its own rests on."""
    with database.reading() as session:
        if runs.leased_run(session, device_id) is None and not runs.owns_sample(session, device_id, sha256):
            raise NotLeased
