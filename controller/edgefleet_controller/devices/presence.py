"""Who was heard of last and when; kept in memory and written to the store in batches."""

import threading
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Sighting:
    """The last sign of life of a device."""

    seen_at: datetime
    is_draining: bool


class Presence:
    """Sightings by device; ``take_unsaved`` gives those that the store does not have yet."""

    def __init__(self) -> None:
        self._sightings: dict[str, Sighting] = {}
        self._unsaved: set[str] = set()
        self._lock = threading.Lock()

    def touch(self, device_id: str, seen_at: datetime, *, is_draining: bool = False) -> None:
        """The device was heard of."""
        with self._lock:
            self._sightings[device_id] = Sighting(seen_at, is_draining)
            self._unsaved.add(device_id)

    def get(self, device_id: str) -> Sighting | None:
        """The last sighting by this process."""
        return self._sightings.get(device_id)

    def count_since(self, moment: datetime) -> int:
        """How many devices were heard of since then."""
        with self._lock:
            return sum(sighting.seen_at >= moment for sighting in self._sightings.values())

    def has_unsaved(self) -> bool:
        """Whether a device was heard of since the last call of ``take_unsaved``."""
        return bool(self._unsaved)

    def take_unsaved(self) -> dict[str, datetime]:
        """Devices heard of since the last call."""
        with self._lock:
            taken = {device_id: self._sightings[device_id].seen_at for device_id in self._unsaved}
            self._unsaved.clear()
        return taken

    def put_back(self, device_ids: set[str]) -> None:
        """They could not be stored; try again with the next batch."""
        with self._lock:
            self._unsaved |= device_ids
