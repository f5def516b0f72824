import threading
from collections.abc import Iterator
from contextlib import contextmanager

from edgefleet_agent.errors import DrainRequested


class StopSwitch:
    """Says when the agent should stop: at once while it is idle, after the current run otherwise."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._idle = False

    @property
    def is_set(self) -> bool:
        """Was a stop requested?"""
        return self._event.is_set()

    @property
    def is_idle(self) -> bool:
        """Does the agent only wait for work now?"""
        return self._idle

    def request(self) -> None:
        """Request a stop; called from a signal handler it leaves an idle wait by raising DrainRequested."""
        self._event.set()
        if self._idle and threading.current_thread() is threading.main_thread():
            raise DrainRequested

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Marks a wait that a stop may interrupt."""
        if self.is_set:
            raise DrainRequested
        self._idle = True
        try:
            yield
        finally:
            self._idle = False

    def wait(self, seconds: float) -> None:
        """Wait; raises DrainRequested when a stop is or was requested."""
        if self._event.wait(seconds):
            raise DrainRequested
