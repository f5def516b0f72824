"""Makes jobs of a study's trials and checks: ordinary jobs, so that caches, fairness, leases and verdicts are those of all."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_compression.search.fidelity import FidelityLevel
from edgefleet_controller.auth.caller import Caller, acting_as
from edgefleet_controller.db.tables import Device, Job, Study
from edgefleet_controller.devices.errors import NoDevices
from edgefleet_controller.errors import ControllerError
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.jobs.schemas import JobCreate
from edgefleet_controller.studies.boards import BoardPlan

JsonObject = dict[str, Any]
QUICK_SAMPLES = 200
"""Timed inferences of a quick measurement at least: enough for its 90th percentile (``statistics`` wants 64)."""
QUICK_WARMUP_S = 0.2


class NoBoardNow(Exception):
    """No device of this kind takes runs at the moment."""

    def __init__(self, board: str, message: str) -> None:
        super().__init__(message)
        self.board = board
        self.message = message


class TrialRefused(Exception):
    """No job can be made of the trial; ``cause`` says why."""

    def __init__(self, cause: JsonObject) -> None:
        super().__init__(cause["message"])
        self.cause = cause


@contextmanager
def acting_for(study: Study) -> Iterator[None]:
    """See the study's project alone, and make rows in the name of who asked for it."""
    caller = Caller(
        kind="study",
        name=study.created_by or study.id,
        user_id=study.created_by,
        projects=frozenset({study.project_id}),
        project_id=study.project_id,
    )
    with acting_as(caller):
        yield


def settings_at(request: Mapping[str, Any], level: FidelityLevel) -> JsonObject:
    """How a trial of this level is measured."""
    full = MeasureSettings.model_validate(request["settings"])
    if level.measurement == "full":
        return full.model_dump(mode="json")
    seconds = float(request["quick_seconds"])
    quick = full.model_copy(
        update={
            "seconds": seconds,
            "min_samples": min(full.min_samples, QUICK_SAMPLES),
            "max_seconds": max(seconds, min(full.max_seconds, 5 * seconds)),
            "warmup_seconds": min(full.warmup_seconds, QUICK_WARMUP_S),
            "launches": 1,
        }
    )
    return quick.model_dump(mode="json")


def submit_trial(
    session: Session,
    study: Study,
    plan: BoardPlan,
    *,
    label: str,
    place: int,
    recipe: JsonObject,
    target: str,
    settings: JsonObject,
) -> Job:
    """The job of one recipe on one device of this kind.

    place: position of the trial, which spreads trials over devices that are named. NoBoardNow or TrialRefused.
    """
    fields: JsonObject = {"recipes": [recipe], "targets": [target], "settings": settings}
    if plan.is_any:
        fields |= {"match": plan.requirement.document, "any_of": 1}
    else:
        active = _active(session, plan)
        fields["devices"] = [active[place % len(active)]]
    return _submit(session, study, plan, label, fields)


def submit_round(
    session: Session, study: Study, plan: BoardPlan, *, label: str, recipes: Sequence[JsonObject], target: str
) -> Job:
    """The job that measures these recipes in full on every device of this kind. NoBoardNow or TrialRefused."""
    fields: JsonObject = {"recipes": list(recipes), "targets": [target], "settings": study.request["settings"]}
    if plan.is_any:
        fields["match"] = plan.requirement.document
    else:
        fields["devices"] = _active(session, plan)
    return _submit(session, study, plan, label, fields)


def _active(session: Session, plan: BoardPlan) -> list[str]:
    """Those of the named devices that take runs; NoBoardNow without any."""
    query = select(Device.id).where(Device.id.in_(plan.device_ids), Device.state == "active")
    found = list(session.scalars(query.order_by(Device.name)))
    if not found:
        raise NoBoardNow(
            plan.name, f"None of {', '.join(plan.device_names)} takes runs: each is held, revoked or away."
        )
    return found


def _submit(session: Session, study: Study, plan: BoardPlan, label: str, fields: JsonObject) -> Job:
    shared = {name: study.request[name] for name in ("priority", "compute")}
    request = JobCreate.model_validate(
        {
            "model": study.model_id,
            "name": f"{study.name} {label}"[:128],
            "deadline": study.deadline_at,
            **shared,
            **fields,
        }
    )
    try:
        with acting_for(study), session.begin_nested():
            return jobs.create_job(session, request, study=study)
    except NoDevices as err:
        raise NoBoardNow(plan.name, err.message) from err
    except ControllerError as err:
        raise TrialRefused({"code": err.code, "message": err.message}) from err
