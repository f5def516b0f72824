"""Holds ``?wait=`` open without holding a thread or a connection to the store."""

from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.services import Services
from edgefleet_controller.studies import service
from edgefleet_controller.studies.repository import ENDED
from edgefleet_controller.studies.schemas import StudyView


async def wait_for_study(services: Services, study_id: str, wait_s: float, since: int | None) -> StudyView:
    """The study as soon as its version is above ``since``, or it has ended, or ``wait_s`` is over."""
    clock = services.clock
    ends_at_s = clock.monotonic_s() + min(wait_s, services.settings.poll_wait_s)
    with services.wakeups.waiting_for(f"study:{study_id}") as waiter:
        while True:
            study = await run_in_threadpool(_load, services, study_id)
            remaining_s = ends_at_s - clock.monotonic_s()
            is_news = study.state in ENDED or (since is not None and study.version > since)
            if is_news or remaining_s <= 0 or services.wakeups.is_closed:
                return study
            if not await waiter.wait(remaining_s):
                return await run_in_threadpool(_load, services, study_id)


def _load(services: Services, study_id: str) -> StudyView:
    with services.database.reading() as session:
        return service.view(session, service.find(session, study_id))
