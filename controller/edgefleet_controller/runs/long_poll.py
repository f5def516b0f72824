"""Holds a claim open without holding a thread or a connection to the store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from edgefleet_agent.wire.messages import ClaimRequest
from edgefleet_controller.devices import repository as devices
from edgefleet_controller.devices.service import store_facts
from edgefleet_controller.dispatch.roster import Card
from edgefleet_controller.errors import NotFound
from edgefleet_controller.runs.desk import Wanted
from edgefleet_controller.runs.leasing import Leased
from edgefleet_controller.runs.starts import Place
from edgefleet_controller.services import Services


@dataclass(frozen=True)
class Claim:
    """The answer to a claim that need not wait any longer."""

    leased: Leased | None = None
    wants_facts: bool = False
    is_busy: bool = False
    """the server holds as many claims as it may"""


async def wait_for_claim(
    services: Services, device_id: str, request: ClaimRequest, is_disconnected: Callable[[], Awaitable[bool]]
) -> Claim:
    """The claim's answer; empty once ``wait_s`` is over, the agent has gone or drains, or the server stops."""
    desk, clock = services.desk, services.clock
    services.presence.touch(device_id, clock.now(), is_draining=request.draining)
    card = desk.roster.get(device_id)
    if card is None or request.facts is not None or card.facts_sha256 != request.facts_sha256:
        card = await run_in_threadpool(_take_in_facts, services, device_id, request)
        if card.facts_sha256 != request.facts_sha256:
            return Claim(wants_facts=True)
    wanted = Wanted(card, request.boot, request.claim)
    if request.draining or (place := desk.place_of(wanted)) is Place.LATE:
        return Claim()
    if desk.may_hold_run(wanted, place):
        again = await run_in_threadpool(desk.settle_held, wanted)
        if again is not None:
            return Claim(leased=again)
    if not desk.work.may_have_work(card, clock.now()) and request.wait_s <= 0:
        return Claim()
    return await _hold(services, wanted, request.wait_s, is_disconnected)


async def _hold(
    services: Services, wanted: Wanted, wait_s: float, is_disconnected: Callable[[], Awaitable[bool]]
) -> Claim:
    clock, desk = services.clock, services.desk
    ends_at_s = clock.monotonic_s() + min(wait_s, services.settings.poll_wait_s)
    with services.wakeups.waiting_for(f"device:{wanted.card.id}") as waiter:
        was_woken = False  # an agent that does not know of updates is answered once, not again and again
        while True:
            card = desk.roster.get(wanted.card.id)
            if card is not None and desk.work.may_have_work(card, clock.now()):
                leased = await desk.lease(Wanted(card, wanted.boot, wanted.claim))
                if leased is not None:
                    return Claim(leased=leased)
            remaining_s = ends_at_s - clock.monotonic_s()
            if remaining_s <= 0 or services.wakeups.is_closed or (was_woken and desk.offers.is_due(card)):
                return Claim()
            if services.wakeups.n_waiting > services.settings.max_held_claims:
                return Claim(is_busy=True)
            # never lease to an agent that hung up while it waited
            if not await waiter.wait(remaining_s) or await is_disconnected():
                return Claim()
            services.presence.touch(wanted.card.id, clock.now())
            was_woken = True


def _take_in_facts(services: Services, device_id: str, request: ClaimRequest) -> Card:
    """Store the facts that the claim brings; the device's card as it is then."""
    roster = services.desk.roster
    with services.database.writing() as session:
        device = devices.find_locked(session, device_id)
        if device is None:
            raise NotFound
        if request.facts is not None:
            store_facts(device, request.facts, facts_sha256=request.facts_sha256)
    with services.database.reading() as session:
        roster.fetch(session, [device_id])
    card = roster.get(device_id)
    if card is None:
        raise NotFound
    return card
