"""What is settled when a variant's runs are queued."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device, Run
from edgefleet_controller.runs import service as runs
from edgefleet_controller.runs.suitability import why_unsuitable
from edgefleet_deploy.targets import Target


def refuse_unsuitable(session: Session, queued: Sequence[Run], target: Target, manifest: Mapping[str, Any]) -> None:
    """Fail at once the runs that their devices could never carry out, so that nothing waits for ever.

    The variant must be in state dispatched: it ends here where no run is left.
    """
    for run in queued:
        device = session.get_one(Device, run.device_id)
        error = why_unsuitable(target, manifest, device)
        if error is not None:
            runs.refuse_run(session, run, error)
