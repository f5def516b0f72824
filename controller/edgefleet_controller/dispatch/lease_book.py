"""Leases as this process remembers them, so that a heartbeat costs no transaction; extensions are stored in batches."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class Lease:
    """One attempt of a run at a device."""

    run_id: str
    attempt: int
    device_id: str
    stored_until: datetime
    """end as the store has it"""
    until: datetime
    """end with the heartbeats that were not stored yet"""
    phase: str | None = None
    is_cancelled: bool = False
    is_certain: bool = True
    """False once another writer may have changed it; the next heartbeat asks the store"""
    leased_to: str | None = None

    @property
    def is_unsaved(self) -> bool:
        """Whether the store does not know the present end or phase."""
        return self.until != self.stored_until


class LeaseBook:
    """Leases by run, and by device. What is not here is in the store."""

    def __init__(self) -> None:
        self._by_run: dict[str, Lease] = {}
        self._by_device: dict[str, str] = {}
        self._lock = threading.Lock()

    def put(self, lease: Lease) -> None:
        """A run was leased, or its lease was read from the store."""
        with self._lock:
            self._by_run[lease.run_id] = lease
            self._by_device[lease.device_id] = lease.run_id

    def of_device(self, device_id: str) -> Lease | None:
        """The lease of a device."""
        return self._by_run.get(self._by_device.get(device_id, ""))

    def end(self, run_id: str) -> None:
        """The lease is over; forget it."""
        with self._lock:
            lease = self._by_run.pop(run_id, None)
            if lease is not None and self._by_device.get(lease.device_id) == run_id:
                del self._by_device[lease.device_id]

    def doubt(self, run_ids: Iterable[str]) -> None:
        """Somebody else may have changed these; what is unsaved is still stored, and the next heartbeat asks the store."""
        with self._lock:
            for run_id in run_ids:
                if run_id in self._by_run:
                    self._by_run[run_id].is_certain = False

    def doubt_all(self) -> None:
        """News may have been missed."""
        self.doubt(list(self._by_run))

    def extend(
        self, run_id: str, attempt: int, device_id: str, phase: str, lease_s: float, now: datetime, margin: timedelta
    ) -> Lease | None:
        """Extend in memory, if it is certain that the lease is this device's and that it can be stored in time.

        In time: the end in the store is further than ``margin`` away, so nobody can take the run before the extension
        arrives there. None: ask the store.
        """
        with self._lock:
            lease = self._by_run.get(run_id)
            if lease is None or (lease.attempt, lease.device_id) != (attempt, device_id) or not lease.is_certain:
                return None
            if lease.stored_until - now < margin:
                return None
            lease.until, lease.phase = now + timedelta(seconds=lease_s), phase
            return lease

    def unsaved(self) -> list[tuple[str, int, datetime, str | None]]:
        """Run, attempt, end and phase of what has to be stored."""
        with self._lock:
            return sorted(
                (lease.run_id, lease.attempt, lease.until, lease.phase)
                for lease in self._by_run.values()
                if lease.is_unsaved
            )

    def saved(self, run_id: str, attempt: int, until: datetime, *, is_cancelled: bool) -> None:
        """The store has this end now."""
        with self._lock:
            lease = self._by_run.get(run_id)
            if lease is not None and lease.attempt == attempt:
                lease.stored_until, lease.is_cancelled = until, is_cancelled
