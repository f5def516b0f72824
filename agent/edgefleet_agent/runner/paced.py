"""Timed loops that do not run back to back: with pauses (duty cycle), or driven by arrivals (open loop).

Both sleep until the next inference is due and never spin: a board in use sleeps there too, so waking up belongs to what
is measured.
"""

import time
from array import array
from typing import Any, Callable, List, Optional

import numpy as np

from edgefleet_agent.runner.timing import MAX_SAMPLES, Series, Window, collection_paused, monotonic_ns
from edgefleet_agent.runner.watch import SegmentWatch


def schedule_arrivals(window: Window, rate_per_s: float, arrivals: str, seed: int) -> "np.ndarray[Any, Any]":
    """Intended starts in ns from the beginning, increasing; they cover the window's seconds and its least samples.

    ``arrivals``: "fixed" (equal gaps) or "poisson" (exponential gaps from the seed). None is later than max_seconds.
    """
    seconds = min(window.max_seconds, max(window.seconds, window.min_samples / rate_per_s))
    n = int(min(MAX_SAMPLES, max(1, round(seconds * rate_per_s))))
    if arrivals == "fixed":
        return (np.arange(n) * (1e9 / rate_per_s)).astype(np.int64)
    gaps = np.random.RandomState(seed % 2**32).exponential(1e9 / rate_per_s, n)
    offsets = np.cumsum(gaps) - gaps[0]
    return np.asarray(offsets[offsets <= window.max_seconds * 1e9], dtype=np.int64)


def run_open_loop(
    invoke: "Callable[[Any], Any]",
    feeds: "List[Any]",
    offsets_ns: "np.ndarray[Any, Any]",
    limit_s: float,
    watch: "Optional[SegmentWatch]" = None,
) -> Series:
    """One inference per arrival, in order; ``latency_ns`` runs from the intended start, so that waiting counts.

    The schedule never waits for the inference (no coordinated omission). Arrivals not begun within ``limit_s`` are
    counted as unserved.
    """
    n = len(offsets_ns)
    room = bytes(8 * n)
    start_ns, latency_ns, service_ns = array("q", room), array("q", room), array("q", room)
    schedule, clock, count, last_start = offsets_ns.tolist(), monotonic_ns, 0, 0
    with collection_paused():
        cpu_before = time.process_time()
        began = clock()
        limit = began + int(limit_s * 1e9)
        mark = watch.begin(began) if watch is not None else None
        for offset in schedule:
            intended = began + offset
            before = _sleep_until(intended, clock)
            if before >= limit:
                break
            invoke(feeds[count % len(feeds)])
            after = clock()
            start_ns[count], latency_ns[count], service_ns[count] = intended, after - intended, after - before
            count, last_start = count + 1, before
            if watch is not None and mark is not None and after >= mark:
                mark = watch.look(count, after)
        cpu_s = time.process_time() - cpu_before
    behind_s = (last_start - start_ns[count - 1]) / 1e9 if count else 0.0
    if watch is not None:
        watch.close(count, clock())
    return Series(start_ns[:count], latency_ns[:count], cpu_s, service_ns[:count], n - count, behind_s)


def run_duty_cycle(
    invoke: "Callable[[Any], Any]",
    feeds: "List[Any]",
    window: Window,
    rate_per_s: float,
    watch: "Optional[SegmentWatch]" = None,
) -> Series:
    """``rate_per_s`` inferences per second with pauses in between; ``latency_ns`` is the inference alone.

    An inference that takes longer than its period delays the next one instead of piling up.
    """
    start_ns, latency_ns, clock, count = array("q"), array("q"), monotonic_ns, 0
    period_ns = 1e9 / rate_per_s
    with collection_paused():
        cpu_before = time.process_time()
        began = due = clock()
        enough, limit = began + int(window.seconds * 1e9), began + int(window.max_seconds * 1e9)
        mark = watch.begin(began) if watch is not None else None
        while count < MAX_SAMPLES:
            before = _sleep_until(due, clock)
            invoke(feeds[count % len(feeds)])
            after = clock()
            start_ns.append(before)
            latency_ns.append(after - before)
            count += 1
            due = max(due + int(period_ns), after)
            if watch is not None and mark is not None and after >= mark:
                mark = watch.look(count, after)
            if due >= enough and (count >= window.min_samples or due >= limit):
                break
        cpu_s = time.process_time() - cpu_before
    if watch is not None:
        watch.close(count, clock())
    behind_s = (start_ns[-1] - began - (count - 1) * period_ns) / 1e9
    return Series(start_ns, latency_ns, cpu_s, behind_s=behind_s)


def _sleep_until(due_ns: int, clock: "Callable[[], int]") -> int:
    """Return the time once it is due; at once when it is late."""
    now = clock()
    while now < due_ns:
        time.sleep((due_ns - now) / 1e9)
        now = clock()
    return now
