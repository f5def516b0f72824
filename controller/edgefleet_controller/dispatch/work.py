"""Which devices have something to do, as far as this process knows; errs towards having."""

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.dispatch.roster import Card, Roster


class WorkIndex:
    """Devices named by queued runs, and the requirements of queued runs that name none.

    An entry is dropped once the store was looked into in vain. A run that is queued during that look must not be lost:
    every announcement raises a count, and an entry is dropped only at the count that was seen before the look.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._named: dict[str, int] = {}
        self._open: dict[str, tuple[Requirement, int]] = {}
        self._count = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Take it before looking into the store, see ``settle``."""
        return self._count

    def add_device(self, device_id: str) -> None:
        """A run that names the device was queued, or may be leased again."""
        with self._lock:
            self._count += 1
            self._named[device_id] = self._count

    def add_requirement(self, sha256: str, requirement: Requirement) -> None:
        """A run with this requirement was queued."""
        with self._lock:
            self._count += 1
            self._open[sha256] = (requirement, self._count)

    def knows(self, sha256: str) -> bool:
        """Whether the requirement is waited with now."""
        return sha256 in self._open

    def settle(self, device_id: str, requirements: Collection[str], count: int) -> None:
        """The store had nothing for the device, and no run with these requirements, at a look that began at ``count``."""
        with self._lock:
            if self._named.get(device_id, count + 1) <= count:
                del self._named[device_id]
            for sha256 in requirements:
                if sha256 in self._open and self._open[sha256][1] <= count:
                    del self._open[sha256]

    def named(self) -> set[str]:
        """Devices that queued runs name."""
        with self._lock:
            return set(self._named)

    def requirements(self) -> Mapping[str, Requirement]:
        """Requirements of queued runs by hash."""
        with self._lock:
            return {sha256: requirement for sha256, (requirement, _) in self._open.items()}

    def fitting(self, card: Card) -> dict[str, int]:
        """Requirements that the device may serve: hash, and how many devices could."""
        if not self._open:
            return {}
        found = {}
        for sha256, requirement in self.requirements().items():
            if requirement.is_met_by(card):
                able = self._able(requirement)
                if not self._is_kept(card, able):
                    found[sha256] = len(able)
        return found

    def may_serve(self, card: Card, sha256: str) -> bool:
        """Whether the device may serve this requirement, if runs with it wait."""
        requirement, _ = self._open.get(sha256, (None, 0))
        if requirement is None or not requirement.is_met_by(card):
            return False
        return not (card.is_reserved and self._is_kept(card, self._able(requirement)))

    def _able(self, requirement: Requirement) -> list[Card]:
        return [one for one in self._roster.cards() if one.state == "active" and requirement.is_met_by(one)]

    def _is_kept(self, card: Card, able: Sequence[Card]) -> bool:
        """Whether the device is reserved for what no other active device can do."""
        return card.is_reserved and any(not one.is_reserved for one in able)

    def may_have_work(self, card: Card, now: datetime) -> bool:
        """Whether to look into the store for this device."""
        if card.id in self._named:
            return card.is_free(now)
        return (
            bool(self._open) and card.is_free(now) and any(one.is_met_by(card) for one in self.requirements().values())
        )
