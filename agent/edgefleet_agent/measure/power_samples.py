"""The raw power samples of a run as one blob."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.measure.meter import Metered
from edgefleet_agent.sensors.power_sensor import FAILED, VERIFIED, WAS_RESET
from edgefleet_agent.sensors.recording import Recording
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.samples import encode_samples


def power_blob(launches: Sequence[Metered]) -> dict[str, bytes]:
    """Return the good readings as blob ``power``: t_ns, power_uw, flags and, of several launches, which one.

    The header has the sensor and the idle spans, one pair of stamps for each launch. Without readings: nothing.
    """
    recorded = [(number, one) for number, one in enumerate(launches) if one.recording is not None]
    if not recorded:
        return {}
    columns: dict[str, list[int]] = {"t_ns": [], "power_uw": [], "flags": []}
    if len(launches) > 1:
        columns["launch"] = []
    first = recorded[0][1].recording
    for number, one in recorded:
        if one.recording is not None:
            _append(columns, one.recording, number)
    assert first is not None
    head: JsonObject = {"chip": first.traits.chip, "scope": first.traits.scope, **_idle_spans(launches)}
    return {"power": encode_samples(columns, clock="CLOCK_MONOTONIC", period_s=first.period_s, **head)}


def _append(columns: dict[str, list[int]], recording: Recording, number: int) -> None:
    good = _good(recording)
    columns["t_ns"] += recording.t_ns[good].tolist()
    columns["power_uw"] += np.round(recording.power_w[good] * 1e6).astype(np.int64).tolist()
    columns["flags"] += recording.flags[good].tolist()
    if "launch" in columns:
        columns["launch"] += [number] * int(good.sum())


def _good(recording: Recording) -> NDArray[np.bool_]:
    good: NDArray[np.bool_] = ((recording.flags & (FAILED | VERIFIED | WAS_RESET)) == 0) & np.isfinite(
        recording.power_w
    )
    return good


def _idle_spans(launches: Sequence[Metered]) -> JsonObject:
    """Stamps of the idle windows, a list of pairs; launches without them are left out."""
    return {
        "idle_before_ns": [[s.start_ns, s.end_ns] for s in (one.idle_before for one in launches) if s is not None],
        "idle_after_ns": [[s.start_ns, s.end_ns] for s in (one.idle_after for one in launches) if s is not None],
    }
