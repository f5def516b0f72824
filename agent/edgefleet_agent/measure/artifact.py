"""Measures one artifact: one or more launches of the runner, and the report made of them."""

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.conversation import Deadline
from edgefleet_agent.measure.cool_down import cool_down
from edgefleet_agent.measure.engine_build import build_engine_first
from edgefleet_agent.measure.environment import describe_host
from edgefleet_agent.measure.launch import LATENCY_ROW, SERVICE_ROW, START_ROW, Launch, LaunchRun, Rows
from edgefleet_agent.measure.meter import Metered, TimedPart
from edgefleet_agent.measure.outliers import Causes, attribute_outliers, merge_causes
from edgefleet_agent.measure.subject import Bench, EngineStore, Limits, OnPhase, Subject
from edgefleet_agent.measure.summaries import accuracy_summary, latency_summary, load_times, memory_summary
from edgefleet_agent.measure.verdict import Evidence, SupplyLevels, join_verdicts, judge_energy, reach_verdict
from edgefleet_agent.measure.wishes import require_possible
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.statistics import SteadyOutcome, outlier_fence
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, VerdictStatus
from edgefleet_agent.wire.report import (
    BlobRef,
    CodedError,
    EnergySummary,
    Environment,
    GoldenSummary,
    LoadTimes,
    RunReport,
    Verdict,
)
from edgefleet_agent.wire.samples import encode_samples

__all__ = ["Bench", "Limits", "Measurement", "OnPhase", "Subject", "blob_ref", "failed_report", "measure_artifact"]

SEGMENT_COLUMNS = ("n_done", "t_ns", "major_faults", "involuntary_switches", "cpu", "frequency_khz")
"""Columns of the blob ``segments``, as the runner saves them (runner.watch)."""

PREDICTION_COLUMNS = ("sample", "prediction")
"""Columns of the blob ``predictions``: place in the evaluation set, and the class that the device names."""

SEVERITY = (SteadyOutcome.FLAT, SteadyOutcome.WARMUP, SteadyOutcome.SLOWDOWN, SteadyOutcome.NO_STEADY_STATE)

BEHIND_SHARE = 0.05
"""A paced run is behind its rate when the last inference began this share of the run too late, and more than two
inferences: one late inference is latency, a growing queue is overload."""


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
        golden=_golden_of(error),
        verdict=Verdict(status=VerdictStatus.INVALID),
    )


def _golden_of(error: CodedError) -> Optional[GoldenSummary]:
    """The figures of a check that failed."""
    figures = error.detail.get("golden") if error.code is ErrorCode.WRONG_OUTPUT else None
    return None if figures is None else GoldenSummary.model_validate(figures)


def measure_artifact(subject: Subject, bench: Optional[Bench] = None) -> Measurement:
    """Measure the artifact in fresh runner children, one per launch.

    A run that can't be measured is a report with a coded error. What ``on_phase`` raises passes through (after the child
    has ended), except MeasurementFailed, which becomes the report's error: that is how a run is cancelled.
    """
    tools = bench or Bench()
    try:
        require_possible(subject)
        with tempfile.TemporaryDirectory(prefix="edgefleet-run-", dir=tools.work_directory) as folder:
            return _Run(subject, tools, Path(folder)).measure()
    except MeasurementFailed as failure:
        return Measurement(failed_report(subject.artifact, failure.error), {})


class _Run:
    """One run from the first launch to the report. Every launch is metered."""

    def __init__(self, subject: Subject, bench: Bench, folder: Path) -> None:
        # engines built for this run serve its launches even where none are kept for later runs
        tools = bench if bench.engines is not None else replace(bench, engines=EngineStore(folder / "engines"))
        self._subject, self._bench, self._folder = subject, tools, folder
        self._deadline = Deadline(subject.settings.deadline_s)
        # an energy figure may need a longer timed part than was asked for
        wanted = max(subject.settings.seconds, bench.meter.least_timed_s(subject.settings.launches))
        self._timed_s = min(wanted, max(subject.settings.max_seconds, subject.settings.seconds))
        self._cool_downs: list[JsonObject] = []
        self._metered: list[Metered] = []
        self._engine: Optional[JsonObject] = None

    def measure(self) -> Measurement:
        with closing(self._bench.meter):
            self._engine = build_engine_first(self._subject, self._bench, self._folder / "build", self._deadline)
            launches = [self._launch(number) for number in range(self._subject.settings.launches)]
        return self._assemble(launches)

    def _launch(self, number: int) -> Launch:
        cooled = cool_down(self._subject.settings, self._bench.read_conditions, self._bench.clock, self._wait)
        self._cool_downs += [] if cooled is None else [cooled]
        folder = self._folder / "launch{}".format(number)
        run = LaunchRun(self._subject, self._bench, folder=folder, deadline=self._deadline, timed_s=self._timed_s)
        launch = run.carry_out(self._bench.meter, is_first=number == 0)
        self._metered.append(self._bench.meter.collect(_timed_part(launch)))
        return launch

    def _wait(self) -> None:
        self._deadline.phase = "cool_down"
        self._deadline.check()
        self._bench.on_phase("cool_down", 0.0)

    def _assemble(self, launches: Sequence[Launch]) -> Measurement:
        causes = _find_causes(launches)
        outcome = max((launch.outcome for launch in launches), key=SEVERITY.index)
        predictions = launches[0].predictions
        blobs = {
            "latency": _encode_series([launch.timed for launch in launches], steady_state=outcome.value),
            "warmup": _encode_series([launch.warmup for launch in launches]),
            "segments": _encode_rows([launch.segments for launch in launches], SEGMENT_COLUMNS),
            **({} if predictions is None else {"predictions": _encode_rows([predictions], PREDICTION_COLUMNS)}),
            **self._bench.meter.blobs(self._metered),
        }
        report = self._report(launches, causes, outcome)
        return Measurement(report.model_copy(update={"samples": {n: blob_ref(b) for n, b in blobs.items()}}), blobs)

    def _report(self, launches: Sequence[Launch], causes: Causes, outcome: SteadyOutcome) -> RunReport:
        first = launches[0]
        energy = self._bench.meter.summarize(self._metered)
        figures = first.figures.get("golden")
        return RunReport(
            agent_version=AGENT_VERSION,
            provenance=provenance_with(energy),
            artifact=self._subject.artifact,
            load=self._load_times(first),
            latency_ms=latency_summary(launches, causes),
            memory=memory_summary(first.figures["memory"]),
            accuracy=accuracy_summary(first.figures.get("evaluation")),
            energy=energy,
            golden=None if figures is None else GoldenSummary.model_validate(figures),
            placement=first.placement,
            environment=self._environment(launches, causes, outcome),
            verdict=join_verdicts(
                [
                    reach_verdict(*(self._evidence(launch, energy, launch is first) for launch in launches)),
                    judge_energy(energy),
                ]
            ),
        )

    def _evidence(self, launch: Launch, energy: EnergySummary, is_first: bool) -> Evidence:
        figures = launch.figures
        timed, counters = figures["timed"], figures["counters"]
        return Evidence(
            outcome=launch.outcome,
            n_non_finite=figures["n_non_finite_first"] + (figures.get("evaluation") or {}).get("n_non_finite", 0),
            before=launch.before,
            after=launch.after,
            cpu_s=timed["cpu_s"],
            n_inferences=timed["n"],
            major_faults=counters["major_faults"],
            core_wait_s=counters["core_wait_s"],
            threads=self._subject.settings.threads,
            n_cores=len(figures["affinity"]),
            rate_sustained=keeps_its_rate(launch),
            cooled_down=all(wait["reached"] for wait in self._cool_downs),
            supply=_supply_levels(energy) if is_first else None,
            is_placed=not is_first or self._is_placed(launch),
        )

    def _is_placed(self, launch: Launch) -> bool:
        """Whether as much ran on the accelerator as the settings ask; what nobody can tell does not count."""
        wanted = self._subject.settings.min_accelerator_share
        return wanted is None or (launch.placement.accelerator_share or 0.0) >= wanted

    def _load_times(self, first: Launch) -> LoadTimes:
        warmup_ms = float(first.warmup[LATENCY_ROW].sum()) / 1e6
        return load_times(first.figures, first.warmup.shape[1], warmup_ms, self._engine)

    def _environment(self, launches: Sequence[Launch], causes: Causes, outcome: SteadyOutcome) -> Environment:
        figures = launches[0].figures
        runtime = {
            "name": self._subject.runtime,
            **figures["runtime"],
            **({} if self._engine is None else {"engine": self._engine}),
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
            before=launches[0].before,
            after=launches[-1].after,
            runtime=runtime,
            settings=settings,
            affinity=figures["affinity"],
            counters=_total_counters(launches, causes),
            cool_down=self._cool_downs[-1] if self._cool_downs else None,
        )


def _find_causes(launches: Sequence[Launch]) -> Causes:
    """The outliers of all launches together, each looked up in its own launch."""
    every = np.concatenate([launch.timed[LATENCY_ROW] for launch in launches])
    fence_ns = outlier_fence(every) if every.size else None
    return merge_causes(
        [attribute_outliers(one.timed[LATENCY_ROW], one.segments, one.n_removed, fence_ns) for one in launches]
    )


def keeps_its_rate(launch: Launch) -> bool:
    """False when a paced launch fell behind: arrivals unserved, or the last inference began far too late."""
    timed, rows = launch.figures["timed"], launch.timed
    if timed["n_unserved"]:
        return False
    service = rows[SERVICE_ROW if len(rows) > SERVICE_ROW else LATENCY_ROW]
    two_inferences_s = 2 * float(np.median(service)) / 1e9 if service.size else 0.0
    return bool(timed["behind_s"] <= max(BEHIND_SHARE * timed["span_s"], two_inferences_s))


def _timed_part(launch: Launch) -> TimedPart:
    """When the inferences really ran: in the open loop they begin after their intended start."""
    rows, batch = launch.timed, launch.figures["batch"]
    if len(rows) <= SERVICE_ROW:
        return TimedPart(rows[START_ROW], rows[LATENCY_ROW], batch)
    service_ns = rows[SERVICE_ROW]
    return TimedPart(rows[START_ROW] + rows[LATENCY_ROW] - service_ns, service_ns, batch)


def provenance_with(energy: EnergySummary) -> Provenance:
    """Provenance of a run on a real board: that of its power sensor where the power was not measured.

    A run with a replayed power trace is replayed as a whole, since its figures are shown together.
    """
    of_sensor = (energy.sensor or {}).get("provenance", Provenance.MEASURED.value)
    return Provenance(of_sensor) if of_sensor in {item.value for item in Provenance} else Provenance.MEASURED


def _supply_levels(energy: EnergySummary) -> Optional[SupplyLevels]:
    levels = energy.detail.get("supply_v")
    return None if not levels else SupplyLevels(idle_v=levels["idle"], loaded_v=levels["loaded_p1"])


def _total_counters(launches: Sequence[Launch], causes: Causes) -> JsonObject:
    """Sums over the launches; the thread count is the largest, an unreadable core wait makes the sum unknown."""
    parts = [{**launch.figures["counters"], "cpu_s": launch.figures["timed"]["cpu_s"]} for launch in launches]
    names = ("cpu_s", "major_faults", "involuntary_switches", "voluntary_switches", "migrations", "core_wait_s")
    total: JsonObject = {
        name: None if any(part[name] is None for part in parts) else sum(part[name] for part in parts) for name in names
    }
    n_unserved = sum(launch.figures["timed"]["n_unserved"] for launch in launches)
    n_threads = max(part["n_threads"] for part in parts)
    return {**total, "n_threads": n_threads, "n_unserved": n_unserved, "segment_share": causes.segment_share}


def _encode_series(parts: Sequence[Rows], **header: object) -> bytes:
    return _encode_rows(parts, ("start_ns", "latency_ns", "service_ns")[: len(parts[0])], **header)


def _encode_rows(parts: Sequence[Rows], names: Sequence[str], **header: object) -> bytes:
    """Columns of all launches one after the other; with several, a column ``launch`` tells them apart."""
    columns = {name: np.concatenate([part[i] for part in parts]).tolist() for i, name in enumerate(names)}
    if len(parts) > 1:
        columns["launch"] = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts]).tolist()
    return encode_samples(columns, clock="CLOCK_MONOTONIC", **header)
