"""Holds ``?wait=`` open without holding a thread or a connection to the store."""

from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.analyses import service
from edgefleet_controller.analyses.schemas import AnalysisView
from edgefleet_controller.services import Services


async def wait_for_analysis(services: Services, analysis_id: str, wait_s: float) -> AnalysisView:
    """The analysis as soon as it has ended, or ``wait_s`` is over. Another process may end it, hence the looks between."""
    clock = services.clock
    ends_at_s = clock.monotonic_s() + min(wait_s, services.settings.poll_wait_s)
    with services.wakeups.waiting_for(f"analysis:{analysis_id}") as waiter:
        while True:
            found = await run_in_threadpool(_load, services, analysis_id)
            remaining_s = ends_at_s - clock.monotonic_s()
            if found.state not in service.UNENDED or remaining_s <= 0 or services.wakeups.is_closed:
                return found
            await waiter.wait(min(remaining_s, services.settings.scan_interval_s))


def _load(services: Services, analysis_id: str) -> AnalysisView:
    with services.database.reading() as session:
        return AnalysisView.model_validate(service.find(session, analysis_id))
