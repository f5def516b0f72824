"""Holds ``?wait=`` open without holding a thread or a connection to the store."""

from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.jobs import service
from edgefleet_controller.jobs.repository import ENDED
from edgefleet_controller.jobs.schemas import JobView
from edgefleet_controller.services import Services


async def wait_for_job(services: Services, job_id: str, wait_s: float, since: int | None) -> JobView:
    """The job as soon as its version is above ``since``, or it has ended, or ``wait_s`` is over."""
    clock = services.clock
    ends_at_s = clock.monotonic_s() + min(wait_s, services.settings.poll_wait_s)
    with services.wakeups.waiting_for(f"job:{job_id}") as waiter:
        while True:
            job = await run_in_threadpool(_load, services, job_id)
            remaining_s = ends_at_s - clock.monotonic_s()
            is_news = job.state in ENDED or (since is not None and job.version > since)
            if is_news or remaining_s <= 0 or services.wakeups.is_closed:
                return job
            if not await waiter.wait(remaining_s):
                return await run_in_threadpool(_load, services, job_id)


def _load(services: Services, job_id: str) -> JobView:
    with services.database.reading() as session:
        return service.view(session, service.find(session, job_id))
