"""The profile of an artifact per operator, as a run of its own."""

import tempfile
from pathlib import Path

from pydantic import Field

from edgefleet_agent.measure.conversation import Conversation, Deadline
from edgefleet_agent.measure.emulation import provenance_here
from edgefleet_agent.measure.environment import describe_host
from edgefleet_agent.measure.profile import OperatorTime, read_events, read_profile
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.wire.base import JsonObject, Wire
from edgefleet_agent.wire.reasons import Provenance
from edgefleet_agent.wire.report import BlobRef


class ProfileReport(Wire):
    """Time per operator under the profiler, which slows the inference down: shares, not latencies."""

    agent_version: str = Field(description="version of the agent")
    provenance: Provenance = Field(description="where the figures come from")
    artifact: BlobRef = Field(description="the profiled file")
    n_inferences: int = Field(ge=1, description="inferences the means are taken over")
    operators: list[OperatorTime] = Field(description="kinds of operators, the longest first")
    nodes: list[OperatorTime] = Field(description="nodes of the optimized graph, the longest first")
    settings: JsonObject = Field(description="threads and batch")
    runtime: JsonObject = Field(description="runtime name, version and interpreter")
    host: JsonObject = Field(description="CPU model, cores, kernel, operating system")


def profile_artifact(subject: Subject, bench: Bench, n_inferences: int) -> ProfileReport:
    """Profile the artifact in a fresh runner; raises MeasurementFailed when it can't run or the runtime has no profiler."""
    with tempfile.TemporaryDirectory(prefix="edgefleet-profile-", dir=bench.work_directory) as name:
        folder = Path(name)
        with Conversation(subject, bench, folder, Deadline(subject.settings.deadline_s)) as talk:

            def enter(event: JsonObject) -> float:
                talk.announce(event["phase"], 0.0)
                return float(event.get("silent_for_s", 0.0)) + talk.load_limit_s

            python = talk.begin("profile", n_inferences=n_inferences)
            facts = dict(talk.follow(enter)["result"])
            talk.finish()
        nodes, kinds = read_profile(read_events(folder / "profile.json"), n_inferences)
    return ProfileReport(
        agent_version=AGENT_VERSION,
        provenance=provenance_here(),
        artifact=subject.artifact,
        n_inferences=n_inferences,
        operators=kinds,
        nodes=nodes,
        settings={"threads": subject.settings.threads, "batch": facts["batch"]},
        runtime={"name": subject.runtime, **facts["runtime"], "interpreter": subject.interpreter, "python": python},
        host=describe_host(),
    )
