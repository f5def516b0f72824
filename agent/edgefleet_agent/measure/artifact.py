"""Measures one artifact: the runner's phases, the conditions around them, and the report made of both."""

import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.child_process import RunnerProcess, default_interpreter
from edgefleet_agent.measure.environment import describe_host, read_conditions
from edgefleet_agent.measure.meter import EnergyMeter, NoSensor, TimedPart
from edgefleet_agent.measure.runner_archive import write_runner_archive
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime, runtime_named
from edgefleet_agent.measure.summaries import accuracy_summary, latency_summary, load_times, memory_summary
from edgefleet_agent.measure.verdict import Evidence, reach_verdict
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.statistics import SteadyOutcome, find_steady_state
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, VerdictStatus
from edgefleet_agent.wire.report import (
    BlobRef,
    CodedError,
    Conditions,
    Environment,
    RunReport,
    Verdict,
)
from edgefleet_agent.wire.samples import encode_samples

OnPhase = Callable[[str, float], None]
"""Told of every phase and the seconds of silence it begins with, and again now and then while it lasts. It may raise."""

RUNNER_PROTOCOL = 1
"""The version of the runner protocol this module speaks (runner.protocol)."""


def _ignore_phase(phase: str, silent_for_s: float) -> None:
    """For callers who do not follow."""


@dataclass(frozen=True)
class Limits:
    """How long a runner may say nothing. Seconds."""

    start_s: float = 60.0
    load_s: float = 300.0
    evaluate_s: float = 120.0
    margin_s: float = 30.0
    keepalive_s: float = 10.0


@dataclass(frozen=True)
class Subject:
    """What to measure, and how."""

    path: Path
    artifact: BlobRef
    runtime: str
    settings: MeasureSettings = field(default_factory=MeasureSettings)
    interpreter: str = field(default_factory=default_interpreter)
    evaluation_path: Optional[Path] = None
    options: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """The tools a measurement uses; tests exchange them."""

    meter: EnergyMeter = field(default_factory=NoSensor)
    on_phase: OnPhase = _ignore_phase
    runtimes: Mapping[str, Runtime] = field(default_factory=lambda: RUNTIMES)
    extra_import_path: Sequence[Path] = ()
    limits: Limits = field(default_factory=Limits)
    read_conditions: Callable[[], Conditions] = read_conditions
    work_directory: Optional[Path] = None


class Measurement(NamedTuple):
    """The report of a run and its raw samples by blob name."""

    report: RunReport
    blobs: dict[str, bytes]


def blob_ref(content: bytes) -> BlobRef:
    """The content address of some bytes."""
    return BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def failed_report(artifact: BlobRef, error: CodedError) -> RunReport:
    """The report of a run that could not be measured."""
    return RunReport(
        agent_version=AGENT_VERSION,
        provenance=Provenance.MEASURED,
        artifact=artifact,
        error=error,
        verdict=Verdict(status=VerdictStatus.INVALID),
    )


def measure_artifact(subject: Subject, bench: Optional[Bench] = None) -> Measurement:
    """Measure the artifact in a fresh runner child.

    A run that can't be measured is a report with a coded error. What ``on_phase`` raises passes through (after the child
    has ended), except MeasurementFailed, which becomes the report's error: that is how a run is cancelled.
    """
    tools = bench or Bench()
    try:
        with tempfile.TemporaryDirectory(prefix="edgefleet-run-", dir=tools.work_directory) as folder:
            return _Run(subject, tools, Path(folder)).measure()
    except MeasurementFailed as failure:
        return Measurement(failed_report(subject.artifact, failure.error), {})


class _Run:
    """One run from the start of the child to the report."""

    def __init__(self, subject: Subject, bench: Bench, folder: Path) -> None:
        self._subject, self._bench, self._folder = subject, bench, folder
        self._ends = time.monotonic() + subject.settings.deadline_s
        self._phase, self._loud_from = "load", 0.0
        # an energy figure may need a longer timed part than was asked for
        wanted = max(subject.settings.seconds, bench.meter.least_timed_s)
        self._timed_s = min(wanted, max(subject.settings.max_seconds, subject.settings.seconds))
        self._before: Optional[Conditions] = None
        self._after: Optional[Conditions] = None

    def measure(self) -> Measurement:
        runtime = runtime_named(self._subject.runtime, self._bench.runtimes)
        archive = write_runner_archive(self._folder / "runner.zip")
        self._announce("load", 0.0)
        with closing(self._bench.meter), self._start_runner(archive) as child:
            hello = self._next(child, self._bench.limits.start_s)
            if hello.get("event") != "hello" or hello.get("protocol") != RUNNER_PROTOCOL:
                raise MeasurementFailed(
                    ErrorCode.RUNNER_PROTOCOL, "the runner did not introduce itself", {"event": hello}
                )
            child.send(self._request(runtime))
            figures = self._follow(child)
            child.wait_for_exit()
        figures["python"] = hello["python"]
        return self._assemble(figures)

    def _start_runner(self, archive: Path) -> RunnerProcess:
        return RunnerProcess(self._subject.interpreter, self._folder, [archive, *self._bench.extra_import_path])

    def _request(self, runtime: Runtime) -> JsonObject:
        subject = self._subject
        evaluation = subject.evaluation_path
        return {
            "protocol": RUNNER_PROTOCOL,
            "parent_pid": os.getpid(),
            "backend": runtime.backend,
            "artifact": str(subject.path.resolve()),
            "evaluation": None if evaluation is None else str(evaluation.resolve()),
            "output_dir": str(self._folder),
            "settings": {**subject.settings.model_dump(), "seconds": self._timed_s},
            "options": subject.options,
        }

    def _follow(self, child: RunnerProcess) -> JsonObject:
        """Answer the child's events until it is done."""
        limit_s = self._bench.limits.load_s
        while True:
            event = self._next(child, limit_s)
            kind = event["event"]
            if kind == "done":
                return dict(event["result"])
            if kind == "failed":
                raise _failure_of(event, child)
            if kind == "phase":
                limit_s = self._enter(event)
                child.send({"request": "go"})

    def _enter(self, event: JsonObject) -> float:
        """Do what belongs between two phases; returns how long the coming one may be silent."""
        phase, silent_for_s, limits = event["phase"], float(event.get("silent_for_s", 0.0)), self._bench.limits
        if phase == "measured":
            self._after = self._bench.read_conditions()
            self._bench.meter.end()
            self._announce("evaluate", 0.0)
            return limits.evaluate_s
        if phase == "measure":
            self._announce(phase, silent_for_s + self._bench.meter.extra_s)
            self._bench.meter.begin()
            self._before = self._bench.read_conditions()
            return max(silent_for_s, self._subject.settings.max_seconds) + limits.margin_s
        self._announce(phase, silent_for_s)
        if phase == "warmup":
            self._bench.meter.look()
        by_phase = {"load": limits.load_s, "evaluate": limits.evaluate_s}
        return by_phase.get(phase, silent_for_s + limits.load_s)

    def _announce(self, phase: str, silent_for_s: float) -> None:
        self._phase, self._loud_from = phase, time.monotonic() + silent_for_s
        self._bench.on_phase(phase, silent_for_s)

    def _next(self, child: RunnerProcess, limit_s: float) -> JsonObject:
        return child.receive(limit_s, self._bench.limits.keepalive_s, self._keep_alive)

    def _keep_alive(self) -> None:
        """Called while nothing comes from the child: the whole run has a deadline, and the lease wants heartbeats."""
        if time.monotonic() > self._ends:
            raise MeasurementFailed(
                ErrorCode.DEADLINE_EXCEEDED,
                "the run took longer than its deadline of {:.0f} s (phase {}); raise deadline_s or choose shorter "
                "settings".format(self._subject.settings.deadline_s, self._phase),
                {"phase": self._phase},
            )
        if time.monotonic() >= self._loud_from:
            self._bench.on_phase(self._phase, 0.0)

    def _assemble(self, figures: JsonObject) -> Measurement:
        timed, warmup = self._read_series("latency"), self._read_series("warmup")
        steady = find_steady_state(timed[0], timed[1])
        if steady.outcome is SteadyOutcome.WARMUP:
            warmup = np.concatenate([warmup, timed[:, : steady.first_steady]], axis=1)
            timed = timed[:, steady.first_steady :]
        blobs = {
            "latency": _encode_series(timed, steady_state=steady.outcome.value),
            "warmup": _encode_series(warmup),
            **self._predictions(),
            **self._bench.meter.blobs(),
        }
        report = self._report(figures, timed, warmup, steady.outcome)
        return Measurement(report.model_copy(update={"samples": {n: blob_ref(b) for n, b in blobs.items()}}), blobs)

    def _report(
        self, figures: JsonObject, timed: NDArray[np.int64], warmup: NDArray[np.int64], outcome: SteadyOutcome
    ) -> RunReport:
        before, after = self._before, self._after
        if before is None or after is None:
            raise MeasurementFailed(ErrorCode.RUNNER_PROTOCOL, "the runner was done without a timed part")
        evaluation = figures.get("evaluation")
        n_non_finite = figures["n_non_finite_first"] + (evaluation or {}).get("n_non_finite", 0)
        evidence = Evidence(outcome, n_non_finite, before, after, figures["timed"]["cpu_s"])
        return RunReport(
            agent_version=AGENT_VERSION,
            provenance=Provenance.MEASURED,
            artifact=self._subject.artifact,
            load=load_times(figures, warmup.shape[1], float(warmup[1].sum()) / 1e6),
            latency_ms=latency_summary(timed[1]),
            memory=memory_summary(figures["memory"]),
            accuracy=accuracy_summary(evaluation),
            energy=self._bench.meter.summarize(TimedPart(timed[0], timed[1], figures["batch"])),
            environment=self._environment(figures, before, after, outcome),
            verdict=reach_verdict(evidence),
        )

    def _environment(
        self, figures: JsonObject, before: Conditions, after: Conditions, outcome: SteadyOutcome
    ) -> Environment:
        runtime = {
            "name": self._subject.runtime,
            **figures["runtime"],
            "interpreter": self._subject.interpreter,
            "python": figures["python"],
        }
        settings = {
            **self._subject.settings.model_dump(),
            "batch_used": figures["batch"],
            "seconds_used": self._timed_s,
            "inputs": "random" if self._subject.evaluation_path is None else "evaluation",
            "steady_state": outcome.value,
            "options": self._subject.options,
        }
        return Environment(
            host=describe_host(),
            before=before,
            after=after,
            runtime=runtime,
            settings=settings,
            affinity=figures["affinity"],
        )

    def _read_series(self, name: str) -> NDArray[np.int64]:
        """Rows start_ns and latency_ns as the runner saved them."""
        series: NDArray[np.int64] = np.load(self._folder / (name + ".npy"), allow_pickle=False)
        return series

    def _predictions(self) -> dict[str, bytes]:
        path = self._folder / "predictions.npy"
        if not path.exists():
            return {}
        return {"predictions": encode_samples({"prediction": np.load(path, allow_pickle=False).tolist()})}


def _encode_series(series: NDArray[np.int64], **header: object) -> bytes:
    columns = {"start_ns": series[0].tolist(), "latency_ns": series[1].tolist()}
    return encode_samples(columns, clock="CLOCK_MONOTONIC", **header)


def _failure_of(event: JsonObject, child: RunnerProcess) -> MeasurementFailed:
    """The child's own account of its failure, with its last words."""
    error = event.get("error") or {}
    child.wait_for_exit()
    known = {code.value for code in ErrorCode}
    code = ErrorCode(error.get("code")) if error.get("code") in known else ErrorCode.RUNNER_PROTOCOL
    detail = dict(error.get("detail") or {}, stderr=child.last_words())
    return MeasurementFailed(code, str(error.get("message") or "the runner gave no message"), detail)
