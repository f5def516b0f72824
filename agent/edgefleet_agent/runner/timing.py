"""The timed loop: preallocated arrays, no garbage collection, the clock read right before and after the inference."""

import gc
import time
from array import array
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, NamedTuple, Optional

from edgefleet_agent.runner.watch import SegmentWatch

MAX_SAMPLES = 10000000
"""A timed part ends here at the latest (16 bytes per sample)."""

HEADROOM = 1.5
"""The arrays hold this much more than the fastest inference seen so far could fill."""


def _monotonic_ns() -> int:
    """CLOCK_MONOTONIC in ns, for Python 3.6 (perf_counter reads that clock on Linux)."""
    return int(time.perf_counter() * 1e9)


monotonic_ns: "Callable[[], int]" = getattr(time, "perf_counter_ns", _monotonic_ns)


class Window(NamedTuple):
    """When the loop may end: after ``seconds`` with ``min_samples``, or after ``max_seconds`` anyway."""

    seconds: float
    min_samples: int
    max_seconds: float


class Series(NamedTuple):
    """Start (CLOCK_MONOTONIC) and length of every inference in ns, and the CPU time of this process over all of them.

    Open loop: ``start_ns`` is the intended start, ``latency_ns`` runs from it, ``service_ns`` is the inference alone and
    ``n_unserved`` counts arrivals that were never begun. ``behind_s``: how late the last one began.
    """

    start_ns: "array[int]"
    latency_ns: "array[int]"
    cpu_s: float
    service_ns: "Optional[array[int]]" = None
    n_unserved: int = 0
    behind_s: float = 0.0

    @property
    def span_s(self) -> float:
        """From the first start to the last end."""
        if not self.latency_ns:
            return 0.0
        return (self.start_ns[-1] + self.latency_ns[-1] - self.start_ns[0]) / 1e9


@contextmanager
def collection_paused() -> "Iterator[None]":
    """Collect once, then keep the garbage collector out."""
    gc.collect()
    freeze = getattr(gc, "freeze", None)  # Python >= 3.7
    if freeze is not None:
        freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def capacity_for(window: Window, fastest_ns: int) -> int:
    """How many samples to make room for."""
    expected = int(HEADROOM * window.seconds * 1e9 / max(fastest_ns, 1)) + 1
    return min(MAX_SAMPLES, max(expected, window.min_samples))


NEVER_NS = 1 << 62


def run_timed(
    invoke: "Callable[[Any], Any]",
    feeds: "List[Any]",
    window: Window,
    capacity: int,
    watch: "Optional[SegmentWatch]" = None,
) -> Series:
    """Call ``invoke`` on the feeds in turn until the window ends.

    ``capacity`` samples have room from the start; should they not suffice, room is made between two inferences. The
    watch is called between two inferences as well.
    """
    room = bytes(8 * capacity)
    start_ns, latency_ns = array("q", room), array("q", room)
    n_feeds, min_samples, count, clock = len(feeds), window.min_samples, 0, monotonic_ns
    with collection_paused():
        cpu_before = time.process_time()
        began = clock()
        enough, limit = began + int(window.seconds * 1e9), began + int(window.max_seconds * 1e9)
        mark = NEVER_NS if watch is None else watch.begin(began)
        while count < MAX_SAMPLES:
            if count == len(start_ns):
                start_ns.frombytes(room)
                latency_ns.frombytes(room)
            feed = feeds[count % n_feeds]
            before = clock()
            invoke(feed)
            after = clock()
            start_ns[count] = before
            latency_ns[count] = after - before
            count += 1
            if after >= enough and (count >= min_samples or after >= limit):
                break
            if after >= mark and watch is not None:
                mark = watch.look(count, after)
        cpu_s = time.process_time() - cpu_before
    if watch is not None:
        watch.close(count, clock())
    return Series(start_ns[:count], latency_ns[:count], cpu_s)
