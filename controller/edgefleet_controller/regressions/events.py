"""Changes as they are found, as server-sent events (WHATWG HTML, 9.2)."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from edgefleet_controller.auth.caller import acting_as, current_caller
from edgefleet_controller.regressions import repository
from edgefleet_controller.regressions.schemas import RegressionView
from edgefleet_controller.services import Services

REGRESSIONS = "regressions"
"""What a stream waits for."""
LIFE_S = 300.0
"""Length of a stream; the reader opens the next one, which shows its credential again."""
LOOK_S = 5.0
"""Longest time between two looks, for what other processes found."""
BATCH = 100


async def stream_regressions(services: Services, request: Request, after: str | None) -> AsyncIterator[str]:
    """Events ``regression`` with the document as data and its identifier as ``id``; from ``after`` on, else from now on."""
    caller = current_caller()

    def look(last: str | None) -> tuple[str, list[RegressionView]]:
        with acting_as(caller), services.database.reading() as session:
            if last is None:
                return repository.newest_id(session), []
            rows = repository.regressions_after(session, last, BATCH)
            views = [RegressionView.model_validate(row) for row in rows]
            return (views[-1].id if views else last), views

    ends_at_s = asyncio.get_running_loop().time() + LIFE_S
    last, views = await run_in_threadpool(look, after)
    yield f"retry: 1000\n: changes after {last or 'the first'}\n\n"
    with services.wakeups.waiting_for(REGRESSIONS) as waiter:
        while not services.wakeups.is_closed and asyncio.get_running_loop().time() < ends_at_s:
            for view in views:
                yield f"event: regression\nid: {view.id}\ndata: {json.dumps(view.model_dump(mode='json'))}\n\n"
            if len(views) < BATCH:
                if not await waiter.wait(LOOK_S):
                    yield ": still here\n\n"
                if await request.is_disconnected():
                    return
            last, views = await run_in_threadpool(look, last)
