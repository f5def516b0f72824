"""Server-sent events of a page: parts of it that changed, as HTML that htmx puts in their places.

One stream per page. A stream looks again when this process hears of a change, and every few seconds for what others wrote;
it sends only what differs from what it sent. It ends after a while, and the browser opens it anew: so that a session that
was ended sees nothing more.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from edgefleet_controller.auth.caller import acting_as, current_caller
from edgefleet_controller.db.database import Change
from edgefleet_controller.errors import ControllerError, InvalidRequest
from edgefleet_controller.services import Services
from edgefleet_controller.wakeups import Wakeups

MEDIA_TYPE = "text/event-stream"
LIFE_S = 60.0
"""Length of a stream; the browser's next one shows its cookie again."""
LOOK_S = 3.0
"""Longest time between two looks at the store."""
REST_S = 0.5
"""Shortest time between two looks, however much happens."""
RETRY_MS = 1000
FLEET = "pages:fleet"
"""What pages about devices wait for."""
_FLEET_TOPICS = ("device", "device_changed", "lease")


@dataclass(frozen=True)
class Part:
    """A piece of a page with its ``id`` and ``hx-swap-oob``. mark: what is compared; by default the HTML itself."""

    html: str
    mark: str = ""

    @property
    def compared(self) -> str:
        """What tells a changed part from one that is as it was."""
        return self.mark or self.html


@dataclass(frozen=True)
class View:
    """A page as it is now. signals: events for scripts, by name, sent when their value changes."""

    parts: Mapping[str, Part]
    signals: Mapping[str, str] = field(default_factory=dict)
    is_final: bool = False
    """nothing will change any more"""

    @property
    def digest(self) -> str:
        """Tells a page from a changed one: the page names it, so that its stream begins with nothing new."""
        text = "\0".join([*(part.compared for part in self.parts.values()), *self.signals.values()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_page_listener(wakeups: Wakeups) -> Callable[[Change], None]:
    """Wake pages about devices when one of them changed."""

    def on_change(change: Change) -> None:
        if change.topic in _FLEET_TOPICS:
            wakeups.notify(FLEET)

    return on_change


def stream(services: Services, request: Request, key: str, seen: str, look: Callable[[], View]) -> StreamingResponse:
    """The page's stream. seen: the digest that the page was written with. InvalidRequest for what reads no stream."""
    if MEDIA_TYPE not in request.headers.get("Accept", ""):
        raise InvalidRequest("This address is a stream of events; open the page that it belongs to.")
    caller = current_caller()

    def look_as_caller() -> View | None:
        with acting_as(caller):
            try:
                return look()
            except ControllerError:  # the thing is gone, or no longer theirs: the page says so when it is loaded again
                return None

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    body = _events(services, request, key, seen, look_as_caller)
    return StreamingResponse(body, media_type=MEDIA_TYPE, headers=headers)


async def _events(
    services: Services, request: Request, key: str, seen: str, look: Callable[[], View | None]
) -> AsyncIterator[str]:
    clock = services.clock
    ends_at_s = clock.monotonic_s() + LIFE_S
    shown: View | None = None
    yield f"retry: {RETRY_MS}\n\n"
    with services.wakeups.waiting_for(key) as waiter:
        while not services.wakeups.is_closed and clock.monotonic_s() < ends_at_s:
            view = await run_in_threadpool(look)
            if view is None:
                yield encode_event("gone", "")
                return
            for event in changes(shown, view, seen):
                yield event
            shown = view
            if view.is_final:
                yield encode_event("finished", "")
                return
            if not await waiter.wait(LOOK_S):
                yield ": still here\n\n"
            elif await request.is_disconnected():
                return
            await _rest(services)


async def _rest(services: Services) -> None:
    with services.wakeups.waiting_for("pages:nothing") as nothing:  # ends at once when the server stops
        await nothing.wait(REST_S)


def changes(shown: View | None, view: View, seen: str) -> Iterable[str]:
    """Events that bring a page from what was shown to what is; nothing where the page was written with the same."""
    if shown is None and view.digest == seen:
        return
    before = shown or View({})
    parts = [
        part.html
        for name, part in view.parts.items()
        if name not in before.parts or before.parts[name].compared != part.compared
    ]
    if parts:
        yield encode_event("parts", "\n".join(parts))
    for name, value in view.signals.items():
        if before.signals.get(name) != value and (shown is not None or name != "announce"):
            yield encode_event(name, value)


def encode_event(name: str, data: str) -> str:
    """An event as it goes over the wire; each line of the data has its own field."""
    lines = "".join(f"data: {line}\n" for line in (data.splitlines() or [""]))
    return f"event: {name}\n{lines}\n"
