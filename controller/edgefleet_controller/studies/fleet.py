"""Whether the boards that a study's runs wait for are there at all: a study whose boards are all away says so and waits."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Device, Study
from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.dispatch.roster import card_of
from edgefleet_controller.services import Services
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.boards import BoardPlan
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.submitting import acting_for
from edgefleet_controller.studies.trials import searches_of
from edgefleet_controller.studies.turns import ask_turn

AGAIN = timedelta(seconds=30)
AWAY = "boards_away"
"""Why a study waits whose boards take runs but are not heard of."""


def look_for_boards(services: Services) -> datetime | None:
    """Let studies wait whose boards are all away, and go on once one is back; when to look again while any is open."""
    with services.database.reading() as session:
        study_ids = repository.find_with_jobs(session)
    now, timeout = services.clock.now(), timedelta(seconds=services.settings.presence_timeout_s)
    for study_id in study_ids:
        with services.database.writing() as session:
            study = repository.find_locked(session, study_id)
            if study is not None:
                _look(session, study, services.presence, now - timeout)
    return now + AGAIN if study_ids else None


def _look(session: Session, study: Study, presence: Presence, since: datetime) -> None:
    with acting_for(study):
        devices = [device for plan, _ in searches_of(study) for device in _devices_of(session, plan)]
    is_there = repository.has_leased_run(session, study.id) or any(
        device.state == "active" and _seen(device, presence, since) for device in devices
    )
    is_away = study.state == "waiting" and (study.error or {}).get("code") == AWAY
    if is_there and is_away:
        study.state, study.error, study.message = "running", None, "its boards are back"
        record_event(session, study.id, "running", study.message)
        ask_turn(session, study.id)
    elif not is_there and study.state in ("running", "checking"):
        names = ", ".join(sorted(device.name for device in devices)) or "no device is left"
        message = f"None of the study's boards is heard of ({names}); its runs wait until one is back."
        study.state, study.message = "waiting", message
        study.error = {"code": AWAY, "message": message, "detail": {}}
        record_event(session, study.id, "waiting", message, error=study.error)


def _devices_of(session: Session, plan: BoardPlan) -> list[Device]:
    if not plan.is_any:
        return list(session.scalars(select(Device).where(Device.id.in_(plan.device_ids))))
    requirement = plan.requirement
    return [device for device in session.scalars(select(Device)) if requirement.is_met_by(card_of(device))]


def _seen(device: Device, presence: Presence, since: datetime) -> bool:
    sighting = presence.get(device.id)
    times = [seen for seen in (device.last_seen_at, sighting.seen_at if sighting else None) if seen is not None]
    return max(times, default=since) > since
