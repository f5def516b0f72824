"""Operators of an onnxruntime profile: pure reading of its JSON."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.wire.base import Wire
from edgefleet_agent.wire.reasons import ErrorCode

KERNEL_SUFFIX = "_kernel_time"
"""onnxruntime/core/framework/sequential_executor.cc names the time of a node's kernel <node>_kernel_time (us)."""


class OperatorTime(Wire):
    """Time of one node of the graph, or of all nodes of one kind."""

    name: str = Field(description="name of the node, or kind of operator")
    operator: str = Field(description="kind of operator, such as Conv")
    provider: str = Field(description="execution provider that ran it")
    n_nodes: int = Field(ge=1, description="nodes of the graph counted here")
    time_us: float = Field(ge=0, description="mean time per inference in microseconds, under the profiler")
    share: float = Field(ge=0, le=1, description="of the time of all operators")


def read_profile(
    events: Sequence[Mapping[str, Any]], n_inferences: int
) -> tuple[list[OperatorTime], list[OperatorTime]]:
    """Nodes and kinds of operators, each with the longest first.

    ``n_inferences`` at the end count; earlier ones are loading and warm-up. Raises MeasurementFailed(runner_protocol) for
    a profile without kernels.
    """
    durations: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(KERNEL_SUFFIX):
            facts = event.get("args") or {}
            key = (name[: -len(KERNEL_SUFFIX)], str(facts.get("op_name", "?")), str(facts.get("provider", "?")))
            durations[key].append(float(event["dur"]))
    if not durations or n_inferences < 1:
        raise MeasurementFailed(
            ErrorCode.RUNNER_PROTOCOL, "the runtime's profile names no kernels; this version writes another format"
        )
    means = {key: sum(values[-n_inferences:]) / len(values[-n_inferences:]) for key, values in durations.items()}
    return _nodes(means), _kinds(means)


def _nodes(means: Mapping[tuple[str, str, str], float]) -> list[OperatorTime]:
    total = sum(means.values()) or 1.0
    rows = [
        OperatorTime(name=name, operator=kind, provider=provider, n_nodes=1, time_us=time_us, share=time_us / total)
        for (name, kind, provider), time_us in means.items()
    ]
    return sorted(rows, key=lambda row: row.time_us, reverse=True)


def _kinds(means: Mapping[tuple[str, str, str], float]) -> list[OperatorTime]:
    total = sum(means.values()) or 1.0
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (_, kind, provider), time_us in means.items():
        groups[kind, provider].append(time_us)
    rows = [
        OperatorTime(
            name=kind,
            operator=kind,
            provider=provider,
            n_nodes=len(times),
            time_us=sum(times),
            share=min(1.0, sum(times) / total),
        )
        for (kind, provider), times in groups.items()
    ]
    return sorted(rows, key=lambda row: row.time_us, reverse=True)
