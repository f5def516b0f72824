"""Waits for what the controller carries out."""

import time
from collections.abc import Callable

from edgefleet_controller.client.errors import ClientError, JsonObject

TERMINAL_JOB_STATES = frozenset({"completed", "failed", "cancelled"})
WAIT_S = 20.0
"""How long one ``?wait=`` request is held open."""


def wait_until_ended(
    ask: Callable[[JsonObject | None], JsonObject],
    what: str,
    *,
    on_change: Callable[[JsonObject], None] | None = None,
    timeout_s: float | None = None,
) -> JsonObject:
    """Ask, with the document before, until the state is terminal; ClientError ``wait_timed_out`` after ``timeout_s``."""
    started = time.monotonic()
    found = ask(None)
    while True:
        if on_change is not None:
            on_change(found)
        if found["state"] in TERMINAL_JOB_STATES:
            return found
        if timeout_s is not None and time.monotonic() - started > timeout_s:
            raise ClientError("wait_timed_out", f"{what} is still {found['state']} after {timeout_s:g} s")
        found = ask(found)
