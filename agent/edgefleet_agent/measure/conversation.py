"""The agent's side of the talk with one runner child: hello, events, phases, deadline, heartbeats."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Optional

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.child_process import RunnerProcess
from edgefleet_agent.measure.coral import coral_options
from edgefleet_agent.measure.engine_options import engine_options
from edgefleet_agent.measure.runner_archive import write_runner_archive
from edgefleet_agent.measure.runtimes import runtime_named
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode

RUNNER_PROTOCOL = 1
"""The version of the runner protocol this module speaks (runner.protocol)."""


@dataclass
class Deadline:
    """The end of a run, shared by all its launches, and the phase it is in."""

    deadline_s: float
    phase: str = "load"
    ends_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the time now."""
        self.ends_s = time.monotonic() + self.deadline_s

    def check(self) -> None:
        """Raise MeasurementFailed(deadline_exceeded) once it is past."""
        if time.monotonic() > self.ends_s:
            raise MeasurementFailed(
                ErrorCode.DEADLINE_EXCEEDED,
                "the run took longer than its deadline of {:.0f} s (phase {}); raise deadline_s or choose shorter "
                "settings".format(self.deadline_s, self.phase),
                {"phase": self.phase},
            )


def input_layouts(manifest: JsonObject) -> "dict[str, str]":
    """Input name -> layout, for the artifact's inputs that take images in another order than the evaluation set's NCHW."""
    return {item["name"]: item["layout"] for item in manifest.get("inputs") or [] if item.get("layout")}


class Conversation:
    """A runner child and what is said with it. A context manager: leaving it ends the child."""

    def __init__(self, subject: Subject, bench: Bench, folder: Path, deadline: Deadline) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._subject, self._bench, self._folder, self._deadline = subject, bench, folder, deadline
        self._loud_from = 0.0
        archive = write_runner_archive(folder / "runner.zip")
        self._runtime = runtime_named(subject.runtime, bench.runtimes)
        self.announce("load", 0.0)
        self._child = RunnerProcess(subject.interpreter, folder, [archive, *bench.extra_import_path])

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._child.kill()

    def begin(self, task: str, **changes: object) -> str:
        """Wait for the child's hello and send the request; returns the version of its Python."""
        hello = self.next(self._bench.limits.start_s)
        if hello.get("event") != "hello" or hello.get("protocol") != RUNNER_PROTOCOL:
            raise MeasurementFailed(ErrorCode.RUNNER_PROTOCOL, "the runner did not introduce itself", {"event": hello})
        subject = self._subject
        self.send(
            {
                "protocol": RUNNER_PROTOCOL,
                "task": task,
                "parent_pid": os.getpid(),
                "backend": self._runtime.backend,
                "artifact": str(subject.path.resolve()),
                "evaluation": None if subject.evaluation_path is None else str(subject.evaluation_path.resolve()),
                "golden": None if subject.golden_path is None else str(subject.golden_path.resolve()),
                "output_dir": str(self._folder),
                "settings": subject.settings.model_dump(),
                "options": {
                    "layouts": input_layouts(subject.manifest),
                    **engine_options(subject, self._bench),
                    **coral_options(subject.manifest),
                    **subject.options,
                },
                **changes,
            }
        )
        return str(hello["python"])

    @property
    def load_limit_s(self) -> float:
        """How long the runner may say nothing while it loads, and builds an engine where its runtime needs one."""
        return self._bench.limits.load_s + self._runtime.build_s

    def send(self, message: JsonObject) -> None:
        """Write one request."""
        self._child.send(message)

    def next(self, limit_s: float) -> JsonObject:
        """The next event but ``failed``, which raises; silence for ``limit_s`` raises too."""
        event = self._child.receive(limit_s, self._bench.limits.keepalive_s, self._keep_alive)
        if event["event"] == "failed":
            raise self._failure_of(event)
        return event

    def follow(self, enter: Callable[[JsonObject], float], until: str = "done") -> JsonObject:
        """Answer phases until the event ``until``; ``enter`` returns how long the coming phase may be silent."""
        limit_s = self._bench.limits.load_s
        while True:
            event = self.next(limit_s)
            if event["event"] == until:
                return event
            if event["event"] == "phase":
                limit_s = enter(event)
                self.send({"request": "go"})

    def announce(self, phase: str, silent_for_s: float) -> None:
        """Tell the bench of a phase; no sign of life is given while it is to be silent."""
        self._deadline.phase, self._loud_from = phase, time.monotonic() + silent_for_s
        self._bench.on_phase(phase, silent_for_s)

    def finish(self) -> None:
        """Let the child end after its last event."""
        self._child.wait_for_exit()

    def _keep_alive(self) -> None:
        """Called while nothing comes from the child: the whole run has a deadline, and the lease wants heartbeats."""
        self._deadline.check()
        if time.monotonic() >= self._loud_from:
            self._bench.on_phase(self._deadline.phase, 0.0)

    def _failure_of(self, event: JsonObject) -> MeasurementFailed:
        """The child's own account of its failure, with its last words."""
        error = event.get("error") or {}
        self.finish()
        known = {code.value for code in ErrorCode}
        code = ErrorCode(error.get("code")) if error.get("code") in known else ErrorCode.RUNNER_PROTOCOL
        detail = dict(error.get("detail") or {}, stderr=self._child.last_words())
        return MeasurementFailed(code, str(error.get("message") or "the runner gave no message"), detail)
