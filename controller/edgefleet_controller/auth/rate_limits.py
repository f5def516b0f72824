"""Token buckets: how often a credential may ask."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from edgefleet_controller.auth.refusals import RefusalLimit
from edgefleet_controller.db.database import Database
from edgefleet_controller.errors import TooManyRequests
from edgefleet_controller.settings import Settings

MAX_KEYS = 100_000
"""Buckets kept; the one longest unused goes first. A forgotten bucket is a full one, so this errs towards letting in."""


class TokenBuckets:
    """One bucket for each key: ``burst`` requests at once, ``rate_per_s`` in the long run."""

    def __init__(self, rate_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_per_s, self._burst, self._clock = rate_per_s, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> None:
        """Take a token; TooManyRequests if there is none."""
        with self._lock:
            level = self._level(key)
            if level >= 1.0:
                self._store(key, level - 1.0)
                return
            wait_s = (1.0 - level) / self._rate_per_s
        raise TooManyRequests(retry_after_s=math.ceil(wait_s))

    def _level(self, key: str) -> float:
        level, at_s = self._buckets.get(key, (self._burst, self._clock()))
        return min(self._burst, level + (self._clock() - at_s) * self._rate_per_s)

    def _store(self, key: str, level: float) -> None:
        self._buckets[key] = (level, self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)


@dataclass(frozen=True)
class RateLimits:
    """What keeps one caller from taking an API process from the others, and anybody from guessing."""

    requests: TokenBuckets
    """by credential: every request; of this process alone, for it is this process that they would take"""
    refusals: RefusalLimit
    """by address, and by user name: sign-ins and enrolments that were refused, at all API processes together"""

    @classmethod
    def from_settings(cls, settings: Settings, database: Database) -> "RateLimits":
        """The limits that are set."""
        return cls(
            requests=TokenBuckets(settings.requests_per_s, settings.requests_burst),
            refusals=RefusalLimit(database, settings.failures_per_min),
        )
