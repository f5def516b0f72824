"""Holds ``?wait=`` open without holding a thread or a connection to the store."""

from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.comparisons import service
from edgefleet_controller.comparisons.schemas import ComparisonView
from edgefleet_controller.services import Services

UNENDED = ("queued", "running")


async def wait_for_comparison(services: Services, comparison_id: str, wait_s: float) -> ComparisonView:
    """The comparison as soon as it has ended, or ``wait_s`` is over."""
    clock = services.clock
    ends_at_s = clock.monotonic_s() + min(wait_s, services.settings.poll_wait_s)
    with services.wakeups.waiting_for(f"comparison:{comparison_id}") as waiter:
        while True:
            found = await run_in_threadpool(_load, services, comparison_id)
            remaining_s = ends_at_s - clock.monotonic_s()
            if found.state not in UNENDED or remaining_s <= 0 or services.wakeups.is_closed:
                return found
            if not await waiter.wait(remaining_s):
                return await run_in_threadpool(_load, services, comparison_id)


def _load(services: Services, comparison_id: str) -> ComparisonView:
    with services.database.reading() as session:
        return service.view(session, service.find(session, comparison_id))
