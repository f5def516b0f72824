"""Who the present request comes from, and in which projects it may act.

The guard sets it once for each request; what the request reads is then filtered by its projects (``db.scoping``), what it
makes is stamped with them, and what it changes is written down (``audit``). Context variables follow a request through
its threads. Code that serves no request (engine, sweeper, command line) has no caller and sees everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from edgefleet_controller.auth.errors import ProjectRequired

DEFAULT_PROJECT = "prj_default"
"""The project that every store has: whoever names no other works in it."""

OPERATOR_TOKEN = "operator-token"  # noqa: S105  # the name of a caller, not a secret


@dataclass(frozen=True)
class Caller:
    """The person, program or board behind a request."""

    kind: str
    """operator_token, user, api_token, device or anonymous"""
    name: str
    """identifier of the user, token or device"""
    address: str | None = None
    action: str = ""
    """the route, such as ``POST /v1/jobs``"""
    user_id: str | None = None
    is_admin: bool = False
    projects: frozenset[str] | None = None
    """projects it may act in on this route; None: no limit"""
    project_id: str | None = None
    """where it makes new things; None: it has to say"""

    @property
    def is_person(self) -> bool:
        """Whether it acts for a person, so that what it changes is audited."""
        return self.kind in ("operator_token", "user", "api_token")


_current: ContextVar[Caller | None] = ContextVar("edgefleet_caller", default=None)


def current_caller() -> Caller | None:
    """The caller of the request that is being served; None outside of requests."""
    return _current.get()


def set_caller(caller: Caller) -> None:
    """Set the caller for the rest of this request."""
    _current.set(caller)


@contextmanager
def acting_as(caller: Caller | None) -> Iterator[None]:
    """Act for this caller, or for none, within the block."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)


def project_for_new_rows() -> str:
    """Where a new row belongs; ProjectRequired where a person has several projects and names none."""
    caller = _current.get()
    if caller is None or not caller.is_person:
        return DEFAULT_PROJECT
    if caller.project_id is None:
        raise ProjectRequired
    return caller.project_id


def name_for_new_rows() -> str | None:
    """Who makes a new row: the user where there is one; None outside of requests."""
    caller = _current.get()
    return None if caller is None else caller.user_id or caller.name
