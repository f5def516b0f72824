"""One launch of the runner: load, warm-up, timed part, evaluation, and the conditions around the timed part."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.conversation import Conversation, Deadline
from edgefleet_agent.measure.meter import EnergyMeter
from edgefleet_agent.measure.placement import placement_summary
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.statistics import SteadyOutcome, find_steady_state
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import Conditions, PlacementSummary

START_ROW, LATENCY_ROW, SERVICE_ROW = 0, 1, 2
"""Rows of a saved series; the third exists in the open loop only."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Launch:
    """What one launch gave.

    ``timed`` and ``warmup``: rows start_ns, latency_ns and, in the open loop, service_ns; the warm-up seen in the timed
    part has been moved to ``warmup``, its length is ``n_removed``. ``segments``: rows as in runner.watch. ``predictions``:
    rows sample (its place in the evaluation set) and class.
    """

    figures: JsonObject
    timed: Rows
    warmup: Rows
    n_removed: int
    segments: Rows
    outcome: SteadyOutcome
    before: Conditions
    after: Conditions
    predictions: Optional[Rows]
    placement: PlacementSummary


class LaunchRun:
    """Carries out one launch in its own folder."""

    def __init__(self, subject: Subject, bench: Bench, *, folder: Path, deadline: Deadline, timed_s: float) -> None:
        self._subject, self._bench, self._folder = subject, bench, folder
        self._deadline, self._timed_s = deadline, timed_s
        self._before: Optional[Conditions] = None
        self._after: Optional[Conditions] = None

    def carry_out(self, meter: EnergyMeter, *, is_first: bool) -> Launch:
        """Run the child to its end. Later launches check no golden outputs and do not evaluate again."""
        self._meter = meter
        settings = {**self._subject.settings.model_dump(), "seconds": self._timed_s}
        later = {} if is_first else {"evaluation_wanted": False, "golden": None}
        with Conversation(self._subject, self._bench, self._folder, self._deadline) as talk:
            self._talk = talk
            python = talk.begin(
                "measure",
                settings=settings,
                warm_load=is_first,
                profile_wanted=is_first,
                cores=self._cores(meter),
                **later,
            )
            figures = dict(talk.follow(self._enter)["result"])
            talk.finish()
        figures["python"] = python
        return self._collect(figures)

    def _cores(self, meter: EnergyMeter) -> Optional[list[int]]:
        """Cores for the runner where one is kept for the sampler, else None: all it has."""
        reserved = meter.reserve_core(self._subject.settings.threads)
        return None if reserved is None else sorted(os.sched_getaffinity(0) - {reserved})

    def _enter(self, event: JsonObject) -> float:
        """Do what belongs between two phases; returns how long the coming one may be silent."""
        phase, silent_for_s, limits = event["phase"], float(event.get("silent_for_s", 0.0)), self._bench.limits
        if phase == "measured":
            self._after = self._bench.read_conditions()
            self._meter.end()
            self._talk.announce("evaluate", 0.0)
            return limits.evaluate_s
        if phase == "measure":
            self._talk.announce(phase, silent_for_s + self._meter.extra_s)
            self._meter.begin()
            self._before = self._bench.read_conditions()
            return max(silent_for_s, self._subject.settings.max_seconds) + limits.margin_s
        self._talk.announce(phase, silent_for_s)
        if phase == "warmup":
            self._meter.look()
        by_phase = {"load": self._talk.load_limit_s, "evaluate": limits.evaluate_s}
        return by_phase.get(phase, silent_for_s + limits.load_s)

    def _collect(self, figures: JsonObject) -> Launch:
        before, after = self._before, self._after
        if before is None or after is None:
            raise MeasurementFailed(ErrorCode.RUNNER_PROTOCOL, "the runner was done without a timed part")
        timed, warmup = self._read("latency"), self._read("warmup")
        # in the open loop the queue makes latencies depend on each other; whether the device is steady shows in the service
        tested = SERVICE_ROW if len(timed) > SERVICE_ROW else LATENCY_ROW
        steady = find_steady_state(timed[START_ROW], timed[tested])
        n_removed = steady.first_steady if steady.outcome is SteadyOutcome.WARMUP else 0
        warmup = np.concatenate([warmup, timed[:SERVICE_ROW, :n_removed]], axis=1)
        predictions = self._folder / "predictions.npy"
        return Launch(
            figures=figures,
            timed=timed[:, n_removed:],
            warmup=warmup,
            n_removed=n_removed,
            segments=self._read("segments"),
            outcome=steady.outcome,
            before=before,
            after=after,
            placement=placement_summary(figures, self._folder),
            predictions=self._read("predictions") if predictions.exists() else None,
        )

    def _read(self, name: str) -> Rows:
        rows: Rows = np.load(self._folder / (name + ".npy"), allow_pickle=False)
        return rows
