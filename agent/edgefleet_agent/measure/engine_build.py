"""The build of an engine before the first launch, for runtimes that build one on the device."""

from pathlib import Path
from typing import Optional

from edgefleet_agent.measure.conversation import Conversation, Deadline
from edgefleet_agent.measure.runtimes import runtime_named
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.wire.base import JsonObject


def build_engine_first(subject: Subject, bench: Bench, folder: Path, deadline: Deadline) -> Optional[JsonObject]:
    """Have a runner build the engine, or find it in the store, and end; None where the runtime builds none.

    The build leaves memory and caches of its own behind, so the measured launches run in other processes. Raises
    MeasurementFailed where the engine can't be built. Signs of life go on meanwhile: nothing is being timed.
    """
    if runtime_named(subject.runtime, bench.runtimes).build_s == 0:
        return None
    with Conversation(subject, bench, folder, deadline) as talk:

        def enter(event: JsonObject) -> float:
            talk.announce(event["phase"], 0.0)
            return talk.load_limit_s

        talk.begin("prepare")
        done = talk.follow(enter)
        talk.finish()
    engine: Optional[JsonObject] = done["result"]["engine"]
    return engine
