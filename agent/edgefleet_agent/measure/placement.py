"""Which provider or delegate ran what: from the runtime's profile, or as the backend itself says."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from pydantic import ValidationError

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.profile import OperatorTime, read_events, read_profile
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.report import PlacementSummary

CPU_NAMES = frozenset(
    {
        "cpu",
        "cpuexecutionprovider",
        "xnnpack",
        "xnnpackexecutionprovider",
        "dnnlexecutionprovider",
        "aclexecutionprovider",
    }
)
"""Providers and delegates that run on the CPU's cores, in lower case; what else there is counts as an accelerator."""

N_OPERATORS = 20
"""Kinds of operators that a report lists."""

PROFILE_FILE = "profile.json"
"""Name under which the runner leaves the runtime's profile (runner.session)."""


def placement_summary(figures: JsonObject, folder: Path) -> PlacementSummary:
    """The placement of a launch; unknown, with the reason, where neither backend nor profile tells."""
    told = figures.get("placement")
    if told is not None:
        return _as_told(told)
    profile = figures.get("profile") or {}
    if "n_inferences" not in profile:
        return PlacementSummary(reason=str(profile.get("reason") or "the runtime does not say"))
    try:
        nodes, kinds = read_profile(read_events(folder / PROFILE_FILE), int(profile["n_inferences"]))
    except MeasurementFailed as failure:
        return PlacementSummary(reason=str(failure))
    return summarize(nodes, kinds)


def _as_told(told: Any) -> PlacementSummary:
    """What a backend says of itself: shares, n_operators, basis and reason, as in the report."""
    try:
        summary = PlacementSummary.model_validate(told)
    except ValidationError as err:
        return PlacementSummary(reason="the backend's placement can't be understood: {}".format(err.errors()[0]["msg"]))
    return summary.model_copy(update={"accelerator_share": accelerator_share(summary.shares)})


def summarize(nodes: Sequence[OperatorTime], kinds: Sequence[OperatorTime]) -> PlacementSummary:
    """Share of time and number of nodes by provider."""
    times: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for node in nodes:
        times[node.provider] += node.time_us
        counts[node.provider] += 1
    total = sum(times.values())
    shares = {name: min(1.0, value / total) for name, value in times.items()} if total > 0 else {}
    return PlacementSummary(
        shares=shares,
        n_operators=dict(counts),
        basis="time" if shares else None,
        accelerator_share=accelerator_share(shares),
        operators=list(kinds[:N_OPERATORS]),
        reason=None if shares else "the profile's times are all zero",
    )


def accelerator_share(shares: dict[str, float]) -> Optional[float]:
    """Share of all that is not the CPU; None where nothing is known."""
    if not shares:
        return None
    return min(1.0, sum(value for name, value in shares.items() if name.lower() not in CPU_NAMES))
