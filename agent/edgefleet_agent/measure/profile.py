"""Operators of a profile in onnxruntime's form, in which other runtimes' backends write theirs: pure reading of JSON."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import OperatorTime

__all__ = ["OperatorTime", "read_events", "read_profile"]

KERNEL_SUFFIX = "_kernel_time"
"""onnxruntime/core/framework/sequential_executor.cc names the time of a node's kernel <node>_kernel_time (us)."""


class _Node(NamedTuple):
    name: str
    kind: str
    provider: str
    precision: Optional[str]
    tactic: Optional[str]


def read_profile(
    events: Sequence[Mapping[str, Any]], n_inferences: int
) -> tuple[list[OperatorTime], list[OperatorTime]]:
    """Nodes and kinds of operators, each with the longest first.

    ``n_inferences`` at the end count; earlier ones are loading and warm-up. Raises MeasurementFailed(runner_protocol) for
    a profile without kernels.
    """
    durations: dict[_Node, list[float]] = defaultdict(list)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(KERNEL_SUFFIX):
            durations[_node(name[: -len(KERNEL_SUFFIX)], event.get("args") or {})].append(float(event["dur"]))
    if not durations or n_inferences < 1:
        raise MeasurementFailed(
            ErrorCode.RUNNER_PROTOCOL, "the runtime's profile names no kernels; this version writes another format"
        )
    means = {key: sum(values[-n_inferences:]) / len(values[-n_inferences:]) for key, values in durations.items()}
    return _nodes(means), _kinds(means)


def _node(name: str, facts: Mapping[str, Any]) -> _Node:
    told = {key: None if facts.get(key) is None else str(facts[key]) for key in ("precision", "tactic")}
    return _Node(name, str(facts.get("op_name", "?")), str(facts.get("provider", "?")), **told)


def read_events(path: Path) -> list[JsonObject]:
    """The profile's events: a JSON array of objects (Chrome's trace format)."""
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise MeasurementFailed(
            ErrorCode.RUNNER_PROTOCOL, "the runtime's profile can't be read ({}); try again".format(err)
        ) from err
    if not isinstance(events, list):
        raise MeasurementFailed(ErrorCode.RUNNER_PROTOCOL, "the runtime's profile is no list of events")
    return [event for event in events if isinstance(event, dict)]


def _nodes(means: Mapping[_Node, float]) -> list[OperatorTime]:
    total = sum(means.values()) or 1.0
    rows = [
        OperatorTime(
            name=node.name,
            operator=node.kind,
            provider=node.provider,
            n_nodes=1,
            time_us=time_us,
            share=time_us / total,
            precision=node.precision,
            tactic=node.tactic,
        )
        for node, time_us in means.items()
    ]
    return sorted(rows, key=lambda row: row.time_us, reverse=True)


def _kinds(means: Mapping[_Node, float]) -> list[OperatorTime]:
    total = sum(means.values()) or 1.0
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for node, time_us in means.items():
        groups[node.kind, node.provider].append(time_us)
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
