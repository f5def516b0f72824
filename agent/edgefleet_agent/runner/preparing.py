"""Builds what the runtime needs on this device, in a process of its own before the first launch.

Building an engine takes seconds to minutes and leaves memory of its own behind: so the launches that are measured load a
built one, and the time it took is told apart.
"""

from typing import Any, Dict

from edgefleet_agent.runner.backend import import_backend
from edgefleet_agent.runner.loading import load_request
from edgefleet_agent.runner.protocol import Channel


def prepare(request: "Dict[str, Any]", channel: Channel) -> "Dict[str, Any]":
    """Load the artifact once; what its backend says of the engine (cached, build_ms), which is kept for the launches."""
    channel.enter("load")
    model = import_backend(request["backend"])(load_request(request))
    return {"engine": model.facts.get("engine")}
