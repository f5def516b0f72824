"""Measures an order on a simulated board: the latency is simulated, the accuracy is computed on this host."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.artifact import Bench, Measurement, Subject, measure_artifact
from edgefleet_agent.measure.energy_meter import SampledEnergyMeter
from edgefleet_agent.measure.meter import TimedPart
from edgefleet_agent.sampler import SamplerSettings
from edgefleet_agent.simulate.board import Series, SimulatedBoard, Window
from edgefleet_agent.simulate.operators import OperatorTable, table_from_manifest
from edgefleet_agent.simulate.parameters import board_named, load_parameters
from edgefleet_agent.simulate.reporting import Figures, make_report
from edgefleet_agent.simulate.roofline import latency_ms
from edgefleet_agent.wire.messages import DeviceKind, MeasureSettings, RunOrder
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, Reason
from edgefleet_agent.wire.report import AccuracySummary

SAMPLE_PERIOD_S = 0.01
"""Read period of the fake power sensor: the estimator's windows stay at their least length of 10 s."""

REST_S = 60.0
"""Between two runs the board cools down for so long, by its own clock."""

NO_INTERPRETER = "none"
"""Stands for the interpreter of a runtime that this host does not have."""


@dataclass(frozen=True)
class SimulatedDevice:
    """What stands in for a device (loop.one_run.StandIn): a board, and whether accuracy is computed on this host."""

    name: str
    board: SimulatedBoard
    computes_accuracy: bool = True
    kind: DeviceKind = "simulated"
    provenance: Provenance = Provenance.SIMULATED

    def measure(self, order: RunOrder, subject: Subject, bench: Bench) -> Measurement:
        """Simulate the run of an order; raises MeasurementFailed where the board cannot run it.

        Virtual time: windows of seconds pass in milliseconds. What ``on_phase`` raises passes through.
        """
        table = self._table(order)
        undisturbed_ms = self._latency_ms(table, order.settings)
        bench.on_phase("load", 0.0)
        figures = self._run(undisturbed_ms, table, order, bench)
        bench.on_phase("evaluate", 0.0)
        accuracy, source = self._accuracy(subject, bench)
        timed = figures.timed
        figures = replace(figures, accuracy=accuracy, notes=MappingProxyType({**figures.notes, **source}))
        return make_report(
            self.name, self.board, order, figures, TimedPart(timed.start_ns, timed.latency_ns, _batch(order))
        )

    def _table(self, order: RunOrder) -> OperatorTable:
        if order.settings.mode != "back_to_back":
            raise MeasurementFailed(
                ErrorCode.NOT_SUPPORTED,
                "simulated boards run back to back only, not in mode {}; leave the mode out".format(
                    order.settings.mode
                ),
            )
        if order.settings.provider is not None or order.settings.delegate is not None:
            raise MeasurementFailed(
                ErrorCode.NOT_SUPPORTED,
                "simulated boards have no execution providers or delegates to choose; leave both out",
            )
        try:
            return table_from_manifest(order.manifest)
        except ValueError as err:
            raise MeasurementFailed(
                ErrorCode.NOT_SUPPORTED,
                "{}, which a simulated board needs; compile the artifact again (--no-cache), or measure it on a real "
                "device".format(err),
            ) from err

    def _latency_ms(self, table: OperatorTable, settings: MeasureSettings) -> float:
        try:
            return latency_ms(table, self.board.parameters, batch=settings.batch)
        except ValueError as err:
            raise MeasurementFailed(
                ErrorCode.NOT_SUPPORTED,
                "{}: {}; choose a recipe of another precision for it".format(self.name, err),
            ) from err

    def _run(self, undisturbed_ms: float, table: OperatorTable, order: RunOrder, bench: Bench) -> Figures:
        board, settings = self.board, order.settings
        meter = SampledEnergyMeter(
            board.sensor_spec,
            settings=SamplerSettings(period_s=SAMPLE_PERIOD_S),
            start_sampler=board.start_sampler,
            clock=board.clock,
        )
        noise = load_parameters().parameters.noise
        board.rest(REST_S)
        load_ms = order.artifact.size_bytes / (board.parameters.load_mb_s.value * 1e6) * 1e3
        board.clock.advance_ns(round(load_ms * 1e6))
        first_ms = undisturbed_ms * noise.first_factor.value
        bench.on_phase("warmup", 0.0)
        meter.look()
        window = Window(settings.warmup_seconds, settings.warmup_iterations, settings.deadline_s)
        warmup = board.infer(undisturbed_ms, window, is_warm=False)
        bench.on_phase("measure", 0.0)
        meter.begin()
        before = board.conditions()
        timed_s = min(max(settings.seconds, meter.least_timed_s(1)), max(settings.max_seconds, settings.seconds))
        timed = board.infer(undisturbed_ms, Window(timed_s, settings.min_samples, max(settings.max_seconds, timed_s)))
        after = board.conditions()
        meter.end()
        return Figures(
            undisturbed_ms=undisturbed_ms,
            load_ms=load_ms,
            first_ms=first_ms,
            warmup=warmup,
            timed=timed,
            before=before,
            after=after,
            meter=meter,
            notes=MappingProxyType({"seconds_used": timed_s, "batch_used": _batch(order), "n_macs": table.n_macs}),
        )

    def _accuracy(self, subject: Subject, bench: Bench) -> "tuple[AccuracySummary, Mapping[str, object]]":
        """The artifact's accuracy, which does not depend on the board's speed, from the real runner on this host."""
        if subject.evaluation_path is None:
            return AccuracySummary(value=None, reason=Reason.NO_EVALUATION_DATA), {"accuracy_source": None}
        if not self.computes_accuracy or subject.interpreter == NO_INTERPRETER:
            return AccuracySummary(value=None, reason=Reason.NOT_MEASURED), {"accuracy_source": None}
        settings = MeasureSettings(
            seconds=0.001,
            min_samples=1,
            warmup_seconds=0.0,
            warmup_iterations=0,
            evaluation_limit=subject.settings.evaluation_limit,
            deadline_s=subject.settings.deadline_s,
        )
        quiet = Bench(
            on_phase=lambda _phase, _silent_for_s: bench.on_phase("evaluate", 0.0),
            runtimes=bench.runtimes,
            work_directory=bench.work_directory,
        )
        report = measure_artifact(replace(subject, settings=settings), quiet).report
        if report.error is not None:
            raise MeasurementFailed(report.error.code, report.error.message, report.error.detail)
        source = "computed by {} on this host ({})".format(subject.runtime, platform.machine())
        accuracy = report.accuracy or AccuracySummary(value=None, reason=Reason.NOT_MEASURED)
        return accuracy, {"accuracy_source": source}


def _batch(order: RunOrder) -> int:
    return order.settings.batch


def simulate_table(table: OperatorTable, board: SimulatedBoard, *, seconds: float = 6.0) -> "tuple[float, Series]":
    """The undisturbed latency in ms and a timed series, without controller, sensor or file.

    Raises ValueError where the board cannot compute the table's precision.
    """
    undisturbed_ms = latency_ms(table, board.parameters)
    board.infer(undisturbed_ms, Window(1.0, 10, 60.0), is_warm=False)
    return undisturbed_ms, board.infer(undisturbed_ms, Window(seconds, 700, 10 * seconds))


def make_board(name: str, seed: int, index: int, *, is_cooled: bool = True) -> SimulatedBoard:
    """Board number ``index`` of a kind; equal arguments give an equal board. SettingsInvalid for an unknown kind."""
    rng = np.random.default_rng([seed, index])
    return SimulatedBoard(board_named(name), load_parameters().parameters.noise, rng, is_cooled=is_cooled)
