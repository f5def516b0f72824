"""The starts of each device's agent, as far as this process knows them: a claim of an earlier one comes too late.

Starts are not ordered by themselves, and a controller that was restarted knows none, so the living one may seem to be the
earlier one. A dead agent has at most one claim under way, so a start that claims twice more, with rising numbers, lives.
"""

from enum import Enum
from typing import Final

KNOWN_STARTS: Final = 4
"""Of each device; older ones are forgotten."""


class Place(Enum):
    """Of a claim: from a start not seen before, from the latest, or from one that another has followed."""

    NEW = "new"
    LATEST = "latest"
    LATE = "late"


class Starts:
    """One for each API process. A start is a random word; its claims are numbered upwards."""

    def __init__(self) -> None:
        self._highest: dict[str, dict[str, int]] = {}
        """device -> start -> highest number of a claim, the latest start last"""
        self._doubted: set[tuple[str, str]] = set()
        """starts that claimed once more although another one had followed"""

    def take_in(self, device_id: str, start: str, number: int) -> Place:
        """Note the claim and say where it stands."""
        known = self._highest.setdefault(device_id, {})
        if start not in known:
            known[start] = number
            self._forget(device_id, known)
            return Place.NEW
        if start != next(reversed(known)) and not self._is_alive(device_id, start, number):
            return Place.LATE
        known[start] = max(known.pop(start), number)
        return Place.LATEST

    def _is_alive(self, device_id: str, start: str, number: int) -> bool:
        known, key = self._highest[device_id], (device_id, start)
        if number <= known[start]:
            return False
        known[start] = number
        if key not in self._doubted:
            self._doubted.add(key)
            return False
        self._doubted.remove(key)
        return True

    def _forget(self, device_id: str, known: dict[str, int]) -> None:
        while len(known) > KNOWN_STARTS:
            oldest = next(iter(known))
            del known[oldest]
            self._doubted.discard((device_id, oldest))
