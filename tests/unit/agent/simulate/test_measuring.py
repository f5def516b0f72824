"""A simulated run from the order to its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.artifact import Bench, Measurement, Subject
from edgefleet_agent.simulate.architectures import mobilenet_v2
from edgefleet_agent.simulate.measuring import SimulatedDevice, make_board
from edgefleet_agent.simulate.operators import Precision
from edgefleet_agent.simulate.parameters import load_parameters
from edgefleet_agent.wire.messages import MeasureSettings, RunOrder
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, Reason
from edgefleet_agent.wire.report import BlobRef, RunReport
from edgefleet_agent.wire.samples import decode_samples

BOARDS = ["raspberry-pi-4", "raspberry-pi-5", "jetson-nano", "coral-usb", "coral-dev-board"]
ARTIFACT = BlobRef(sha256="0" * 64, size_bytes=4_000_000)


def order(precision: str = "int8", **changes: Any) -> RunOrder:
    table = mobilenet_v2(1.0, 224, Precision(precision))
    names = ("kind", "macs", "weight_bytes", "activation_elements")
    rows = [{name: getattr(one, name) for name in names} for one in table.operators]
    fields = {"manifest": {"precision": precision, "operators": rows}, **changes}
    return RunOrder(
        run_id="r",
        attempt=1,
        lease_s=60,
        runtime="onnxruntime",
        artifact=ARTIFACT,
        artifact_name="model.onnx",
        **fields,
    )


def run(
    board: str, wanted: RunOrder, *, evaluation: "Path | None" = None, bench: "Bench | None" = None, **options: Any
) -> Measurement:
    device = SimulatedDevice(board, make_board(board, 0, 1, **options), computes_accuracy=False)
    subject = Subject(path=Path("model.onnx"), artifact=ARTIFACT, runtime="onnxruntime", evaluation_path=evaluation)
    return device.measure(wanted, subject, bench or Bench())


@pytest.fixture(scope="module")
def pi4() -> Measurement:
    return run("raspberry-pi-4", order())


class TestReport:
    def test_says_that_it_is_simulated_and_by_which_parameters(self, pi4: Measurement) -> None:
        report = pi4.report
        assert report.provenance is Provenance.SIMULATED
        assert report.environment is not None
        assert report.environment.host["simulated"] is True
        assert report.environment.host["parameters_sha256"] == load_parameters().sha256
        assert report.energy is not None
        assert report.energy.sensor is not None
        assert report.energy.sensor["provenance"] == "simulated"

    def test_survives_the_wire(self, pi4: Measurement) -> None:
        assert RunReport.model_validate_json(pi4.report.model_dump_json()) == pi4.report

    def test_latency_is_near_the_published_one(self, pi4: Measurement) -> None:
        # MLPerf v1.1: 24.03 ms
        assert pi4.report.latency_ms is not None
        assert pi4.report.latency_ms.p50 == pytest.approx(24.03, rel=0.1)

    def test_samples_are_those_of_the_summary(self, pi4: Measurement) -> None:
        _, columns = decode_samples(pi4.blobs["latency"])
        assert pi4.report.latency_ms is not None
        assert len(columns["latency_ns"]) == pi4.report.latency_ms.n
        assert set(pi4.report.samples) == {"latency", "warmup", "power"}

    def test_what_is_not_simulated_is_null_with_a_reason(self, pi4: Measurement) -> None:
        assert pi4.report.memory is not None
        assert (pi4.report.memory.peak_memory_bytes, pi4.report.memory.reason) == (None, Reason.NOT_MEASURED)
        assert pi4.report.accuracy is not None
        assert (pi4.report.accuracy.value, pi4.report.accuracy.reason) == (None, Reason.NO_EVALUATION_DATA)

    def test_accuracy_is_null_where_it_was_not_computed(self) -> None:
        report = run("raspberry-pi-4", order(), evaluation=Path("evaluation.npz")).report
        assert report.accuracy is not None
        assert (report.accuracy.value, report.accuracy.reason) == (None, Reason.NOT_MEASURED)


class TestEnergy:
    @pytest.mark.parametrize("board", BOARDS)
    def test_stated_interval_holds_the_energy_the_board_drew(self, board: str) -> None:
        report = run(board, order()).report
        assert report.energy is not None
        assert report.latency_ms is not None
        assert report.latency_ms.mean is not None
        drawn_mj = load_parameters().parameters.boards[board].power.busy_w.value * report.latency_ms.mean
        assert report.energy.reason is None
        assert report.energy.value_mj is not None
        assert report.energy.expanded_uncertainty_mj is not None
        # the means over windows and over inferences differ by less than a per mille
        assert abs(report.energy.value_mj - drawn_mj) <= report.energy.expanded_uncertainty_mj + 0.001 * drawn_mj
        assert report.energy.expanded_uncertainty_mj < 0.05 * report.energy.value_mj

    def test_five_windows_of_ten_seconds_are_read_through_the_driver(self, pi4: Measurement) -> None:
        energy = pi4.report.energy
        assert energy is not None
        assert energy.sensor is not None
        assert energy.sensor["chip"] == "ina226"
        assert energy.detail["n_windows"] == 5
        assert min(energy.detail["window_s"]) > 9.9
        assert energy.detail["n_reads"] > 6000


class TestThrottling:
    def test_bare_board_under_long_load_gives_an_invalid_run(self) -> None:
        settings = MeasureSettings(seconds=300.0, max_seconds=400.0)
        report = run("raspberry-pi-4", order(settings=settings), is_cooled=False).report
        assert report.verdict.status.value == "invalid"
        assert Reason.THROTTLED_STICKY in report.verdict.reasons


class TestRefusals:
    @pytest.mark.parametrize(
        ("board", "changes"),
        [
            ("coral-usb", {"precision": "fp32"}),
            ("raspberry-pi-4", {"manifest": {}}),
            ("raspberry-pi-4", {"settings": MeasureSettings(mode="duty_cycle", rate_per_s=10.0)}),
            ("raspberry-pi-4", {"settings": MeasureSettings(provider="xnnpack")}),
            ("raspberry-pi-4", {"settings": MeasureSettings(delegate="none")}),
        ],
    )
    def test_what_cannot_be_simulated_is_a_coded_failure(self, board: str, changes: "dict[str, Any]") -> None:
        with pytest.raises(MeasurementFailed) as failure:
            run(board, order(**changes))
        assert failure.value.error.code is ErrorCode.NOT_SUPPORTED

    def test_phases_are_told_and_may_end_the_run(self) -> None:
        phases: list[str] = []

        def follow(phase: str, _silent_for_s: float) -> None:
            phases.append(phase)
            if phase == "measure":
                raise MeasurementFailed(ErrorCode.CANCELLED, "cancelled")

        with pytest.raises(MeasurementFailed):
            run("raspberry-pi-4", order(), bench=Bench(on_phase=follow))
        assert phases == ["load", "warmup", "measure"]


def medians(reports: Sequence[RunReport]) -> "list[float | None]":
    return [report.latency_ms.p50 if report.latency_ms else None for report in reports]


def test_boards_of_one_kind_differ_by_scatter_only() -> None:
    devices = [SimulatedDevice("jetson-nano", make_board("jetson-nano", 0, index)) for index in (1, 2)]
    subject = Subject(path=Path("model.onnx"), artifact=ARTIFACT, runtime="onnxruntime")
    first, second = medians([device.measure(order(), subject, Bench()).report for device in devices])
    assert first != second
    assert first == pytest.approx(second, rel=0.01)
