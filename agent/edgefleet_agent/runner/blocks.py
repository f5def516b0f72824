"""Serves short timed blocks on request, for comparing artifacts that are loaded side by side in several runners."""

import os
from typing import Any, Dict

import numpy as np

from edgefleet_agent.runner.loading import load
from edgefleet_agent.runner.protocol import Channel
from edgefleet_agent.runner.session import make_ready
from edgefleet_agent.runner.timing import Window, capacity_for, run_timed

SPARE = 10.0
"""A block ends at this many times its length even without its least samples."""


def serve_blocks(request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    """Load and warm up, then run a block per request until told to stop; rows go to block<number>.npy."""
    settings = request["settings"]
    channel.enter("load")
    loaded = load(request)
    warmup = make_ready(loaded, settings, channel, request.get("golden"))
    fastest_ns = min(warmup.latency_ns) if warmup.latency_ns else int(loaded.figures["first_inference_ms"] * 1e6)
    channel.send(
        "ready",
        batch=loaded.batch,
        runtime=loaded.figures["runtime"],
        affinity=loaded.figures["affinity"],
        n_non_finite=loaded.figures["n_non_finite_first"],
    )
    number = 0
    while True:
        wanted = channel.receive()
        if wanted["request"] != "block":
            return {"n_blocks": number}
        seconds = float(wanted["seconds"])
        window = Window(seconds, int(wanted["min_samples"]), SPARE * seconds)
        series = run_timed(loaded.model.invoke, loaded.feeds, window, capacity_for(window, fastest_ns))
        rows = np.array([series.start_ns, series.latency_ns], dtype=np.int64)
        np.save(os.path.join(request["output_dir"], "block{}.npy".format(number)), rows, allow_pickle=False)
        channel.send("block", number=number, cpu_s=series.cpu_s)
        number += 1
