"""Who is served next where many users ask for the same machines; pure.

Every unit of work (a variant) gets a tag when its job is submitted, and units are served in the order of their tags.
This is start-time fair queuing (Goyal, Vin and Cheng, "Start-time fair queueing", IEEE/ACM Transactions on Networking
5(5), 1997) with equal shares:

- ``virtual_time`` is the highest tag that was ever begun; it stands still while nothing is begun.
- A user's units are tagged one after the other, from where the user's earlier work of the same or a higher priority ends
  or from the virtual time, whichever is later. So a user's thousandth waiting unit is a thousand tags away, and another
  user's first one is next; and a user's urgent job does not wait behind the same user's sweep.
- Between users, a priority is a head start of a bounded number of units. Because a tag never changes while the virtual
  time goes on, whoever was passed is served after that bounded number at the latest: that is the ageing. A head start
  raises nobody's share: the next job begins where this one ends, head start or not.

Tags are fixed at submission, so the order does not depend on who looks or when.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Priority = Literal["low", "normal", "high"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)

FAIR_CLOCK = "compute"
"""The row that holds the virtual time."""

HEAD_START_UNITS: Mapping[Priority, int] = MappingProxyType({"low": 0, "normal": 20, "high": 100})
"""How many units of others, begun after it was submitted, a job may pass."""

FIRST_TAG = 10_000
"""Above every head start, so that tags stay positive; the engine's lowest priority number is 1."""

LAST_TAG = 2**31 - 1
"""The engine's highest priority number (dbos 3.4, ``_context.MaxPriority``)."""


@dataclass(frozen=True)
class Tags:
    """The tags of one job's units: ``first``, ``first + 1``, ...; the user's next job begins at ``user_end`` or later."""

    first: int
    n_units: int
    user_end: int

    def tag_of(self, position: int) -> int:
        """The tag of the unit at this position, 0 to ``n_units - 1``."""
        if not 0 <= position < self.n_units:
            raise ValueError(f"the job has {self.n_units} units, none at {position}")
        return min(self.first + position, LAST_TAG)


def assign_tags(*, virtual_time: int, user_end: int | None, n_units: int, priority: Priority = "normal") -> Tags:
    """Tags of a new job.

    ``user_end`` is where the user's earlier work of the same or a higher priority ends (None without any), see ``Tags``.
    """
    if n_units < 1:
        raise ValueError(f"a job has at least one unit, not {n_units}")
    start = max(FIRST_TAG, virtual_time, user_end or 0)
    first = min(start - HEAD_START_UNITS[priority], LAST_TAG)
    return Tags(first=first, n_units=n_units, user_end=min(start + n_units, LAST_TAG))


def advanced(virtual_time: int, begun_tag: int, priority: Priority = "normal") -> int:
    """The virtual time after a unit with this tag was begun; it never goes back.

    The head start is put back first, or else every job of high priority would be counted as less than it is.
    """
    return max(virtual_time, begun_tag + HEAD_START_UNITS[priority])
