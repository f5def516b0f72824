"""A run of its own under the runtime's profiler: which operator takes how much. Never used for latency figures."""

import os
import shutil
from typing import Any, Dict

from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.loading import load
from edgefleet_agent.runner.protocol import Channel
from edgefleet_agent.runner.session import make_ready

PROFILE = "profile.json"


def profile(request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    """Load with the profiler on, run ``n_inferences`` and leave the runtime's own file as profile.json."""
    channel.enter("load")
    prefix = os.path.join(request["output_dir"], "runtime_profile")
    asked = dict(request, options=dict(request.get("options", {}), profile_prefix=prefix))
    loaded = load(asked)
    if loaded.model.end_profiling is None:
        raise RunnerFailure(
            "not_supported",
            "this runtime has no profile per operator that the agent can read; onnxruntime has one",
        )
    make_ready(loaded, request["settings"], channel)
    channel.enter("measure", silent_for_s=0.0)
    for number in range(int(request["n_inferences"])):
        loaded.model.invoke(loaded.feeds[number % len(loaded.feeds)])
    written = loaded.model.end_profiling()
    shutil.move(written, os.path.join(request["output_dir"], PROFILE))
    return {"runtime": loaded.model.facts, "batch": loaded.batch}
