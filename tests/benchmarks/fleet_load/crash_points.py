"""A crash between any two operations on the store: before a statement, before a commit, after a commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect


class Crashed(BaseException):
    """The process ended here; not an Exception, so that no handler of the product catches it."""


class CrashPoints:
    """Counts operations on the store; from the armed one on, every operation ends the process until ``revive``."""

    def __init__(self) -> None:
        self._remaining: int | None = None
        self._is_suspended = False
        self.is_dead = False

    def arm(self, n_operations: int) -> None:
        """Crash at the operation after so many."""
        self._remaining = n_operations

    def disarm(self) -> None:
        """Crash no more."""
        self._remaining = None

    def die(self) -> None:
        """Crash now: the next operations fail."""
        self.is_dead = True

    def revive(self) -> None:
        """A new process begins."""
        self.is_dead, self._remaining = False, None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Operations of the observer, not of the controller."""
        before, self._is_suspended = self._is_suspended, True
        try:
            yield
        finally:
            self._is_suspended = before

    def pass_one(self) -> None:
        """One operation; Crashed if it is the armed one or later."""
        if self._is_suspended:
            return
        if self._remaining is not None:
            self._remaining -= 1
            self.is_dead = self.is_dead or self._remaining < 0
        if self.is_dead:
            raise Crashed


@contextmanager
def crashing(points: CrashPoints) -> Iterator[None]:
    """Let every engine of this process pass these points."""
    commit: Callable[[DefaultDialect, Any], None] = DefaultDialect.do_commit

    def before(*_: object) -> None:
        points.pass_one()

    def commit_between(dialect: DefaultDialect, connection: Any) -> None:
        points.pass_one()
        commit(dialect, connection)
        points.pass_one()

    event.listen(Engine, "before_cursor_execute", before)
    DefaultDialect.do_commit = commit_between  # type: ignore[method-assign]
    try:
        yield
    finally:
        DefaultDialect.do_commit = commit  # type: ignore[method-assign]
        event.remove(Engine, "before_cursor_execute", before)
