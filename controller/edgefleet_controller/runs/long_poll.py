"""Holds a claim open without holding a thread or a connection to the store."""

from collections.abc import Awaitable, Callable

from fastapi.concurrency import run_in_threadpool

from edgefleet_agent.wire.messages import ClaimRequest
from edgefleet_controller.runs import service
from edgefleet_controller.services import Services


async def wait_for_claim(
    services: Services,
    device_id: str,
    request: ClaimRequest,
    rules: service.LeaseRules,
    is_disconnected: Callable[[], Awaitable[bool]],
) -> service.Claim | None:
    """The claim's answer; None once ``wait_s`` is over, the agent has gone, or the server stops."""
    clock = services.clock
    ends_at_s = clock.monotonic_s() + min(request.wait_s, services.settings.poll_wait_s)
    with services.wakeups.waiting_for(f"device:{device_id}") as waiter:
        while True:
            services.presence.touch(device_id, clock.now(), is_draining=request.draining)
            found = await run_in_threadpool(_try_claim, services, device_id, request, rules)
            remaining_s = ends_at_s - clock.monotonic_s()
            if found is not None or remaining_s <= 0 or services.wakeups.is_closed:
                return found
            # never lease to an agent that hung up while it waited
            if not await waiter.wait(remaining_s) or await is_disconnected():
                return None


def _try_claim(
    services: Services, device_id: str, request: ClaimRequest, rules: service.LeaseRules
) -> service.Claim | None:
    with services.database.reading() as session:
        if not service.needs_writing(session, device_id, request):
            return None
    with services.database.writing() as session:
        return service.claim(session, device_id, request, rules)
