class VirtualClock:
    """A clock that stands still until someone waits on it."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the virtual time."""
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Jump to the deadline, never back."""
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance_ns(self, duration_ns: int) -> None:
        """Let time pass."""
        if duration_ns < 0:
            raise ValueError("time does not run backwards: {} ns".format(duration_ns))
        self._now_ns += duration_ns
