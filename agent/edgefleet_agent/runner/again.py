"""What is done with the artifact once more, after all figures were read: a warm load, and a pass under the profiler."""

import gc
import os
import shutil
import sys
import time
import traceback
from typing import Any, Dict, List, Optional

from edgefleet_agent.runner.backend import Model, import_backend
from edgefleet_agent.runner.inputs import batch_size
from edgefleet_agent.runner.loading import load_request, make_feeds
from edgefleet_agent.runner.timing import monotonic_ns

WARM_LOAD_LIMIT_MS = 10000.0
"""A load longer than this is not repeated: an engine that takes minutes to build would take them twice."""

PROFILE_INFERENCES = 10
PROFILE_LIMIT_S = 5.0
"""The profile's mean is over this many inferences, or as many as fit into the time: shares need no more."""


def load_again(request: "Dict[str, Any]", cold_ms: float) -> "Optional[float]":
    """Warm load in ms: same process, same file, caches warm; None where it is too slow to repeat or fails."""
    if cold_ms > WARM_LOAD_LIMIT_MS:
        return None
    gc.collect()
    open_model = import_backend(request["backend"])
    started = monotonic_ns()
    try:
        open_model(load_request(request))
    except Exception:  # noqa: BLE001 - whatever it is, the figures measured before are worth keeping
        sys.stderr.write(traceback.format_exc())
        return None
    return (monotonic_ns() - started) / 1e6


def profile_again(request: "Dict[str, Any]", cold_ms: float) -> "Dict[str, Any]":
    """A pass of its own under the runtime's profiler, after all figures were read; leaves profile.json."""
    if cold_ms > WARM_LOAD_LIMIT_MS:
        return {"reason": "loading takes too long to load once more for a profile"}
    prefix = os.path.join(request["output_dir"], "runtime_profile")
    try:
        asked = load_request(dict(request, options=dict(request.get("options", {}), profile_prefix=prefix)))
        model = import_backend(request["backend"])(asked)
        if model.end_profiling is None:
            return {"reason": "this runtime has no profile per operator"}
        feeds = make_feeds(request, model, batch_size(model.inputs, request["settings"]["batch"]))
        n_inferences = _run_for_profile(model, feeds)
        shutil.move(model.end_profiling(), os.path.join(request["output_dir"], "profile.json"))
    except Exception as err:  # noqa: BLE001 - whatever it is, the figures measured before are worth keeping
        sys.stderr.write(traceback.format_exc())
        return {"reason": "the profile failed: {}: {}".format(type(err).__name__, err)[:500]}
    return {"n_inferences": n_inferences}


def _run_for_profile(model: Model, feeds: "List[Any]") -> int:
    """One inference that does not count, then ten, or fewer where they take long; returns how many count."""
    model.invoke(feeds[0])
    ends = time.perf_counter() + PROFILE_LIMIT_S
    for number in range(PROFILE_INFERENCES):
        model.invoke(feeds[number % len(feeds)])
        if time.perf_counter() > ends:
            return number + 1
    return PROFILE_INFERENCES
