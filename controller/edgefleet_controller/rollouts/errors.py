"""What may be wrong with a release of the agent.

InvalidRequest
├── UnknownReleaseNamed          422 unknown_release
└── WheelRefused                 422 wheel_refused
"""

from edgefleet_controller.errors import InvalidRequest


class UnknownReleaseNamed(InvalidRequest):
    """No release of the agent has this version or identifier; register its wheel with POST /v1/agent-releases."""

    code = "unknown_release"


class WheelRefused(InvalidRequest):
    """The file is no wheel of edgefleet-agent; build one with `python -m build --wheel` in the folder `agent`."""

    code = "wheel_refused"
