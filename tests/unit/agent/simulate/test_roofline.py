"""The roofline against hand arithmetic, published MAC counts and published latencies."""

from pathlib import Path

import pytest

from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.simulate.architectures import mobilenet_v1, mobilenet_v2
from edgefleet_agent.simulate.calibration import compare_rows, rms_log_error, table_named
from edgefleet_agent.simulate.operators import Kind, Operator, OperatorTable, Precision
from edgefleet_agent.simulate.parameters import board_named, load_parameters
from edgefleet_agent.simulate.roofline import latency_ms

PI4_ROWS = Path(__file__).resolve().parents[4].parent / "shared" / "reference" / "mlperf_v1.1_pi4.csv"
needs_rows = pytest.mark.skipif(not PI4_ROWS.is_file(), reason="the published rows (shared/reference) are not here")


def one(kind: Kind, *, macs: int = 0, weights: int = 0, activations: int = 0, precision: str = "fp32") -> OperatorTable:
    return OperatorTable((Operator(kind, macs, weights, activations),), Precision(precision))


class TestOneOperator:
    def test_computing_bound_operator_takes_two_operations_per_mac(self) -> None:
        # 12.15 M MACs = 24.3 MFLOP at 24.3 GFLOP/s = 1 ms, and 30 us
        assert latency_ms(one(Kind.DENSE, macs=12_150_000), board_named("raspberry-pi-4")) == pytest.approx(1.03)

    def test_memory_bound_operator_takes_the_time_to_move_its_bytes(self) -> None:
        # 5 MB at 5 GB/s = 1 ms; 1e6 elements of 4 bytes at 40 GB/s = 0.1 ms
        table = one(Kind.ELEMENTWISE, weights=5_000_000, activations=1_000_000)
        assert latency_ms(table, board_named("raspberry-pi-4")) == pytest.approx(1.13)

    def test_int8_activations_move_one_byte(self) -> None:
        table = one(Kind.ELEMENTWISE, activations=33_000_000, precision="int8")
        assert latency_ms(table, board_named("raspberry-pi-4")) == pytest.approx(1.025)

    @pytest.mark.parametrize(("kind", "rate"), [(Kind.DENSE, 24.3), (Kind.DEPTHWISE, 1.24), (Kind.CONV3X3, 15.7)])
    def test_kinds_have_rates_of_their_own(self, kind: Kind, rate: float) -> None:
        expected_ms = 2 * 1e9 / (rate * 1e9) * 1e3 + 0.03
        assert latency_ms(one(kind, macs=10**9), board_named("raspberry-pi-4")) == pytest.approx(expected_ms)

    def test_batch_repeats_macs_and_activations_but_not_weights(self) -> None:
        board = board_named("raspberry-pi-4")
        computing, moving = one(Kind.DENSE, macs=10**9), one(Kind.ELEMENTWISE, weights=5_000_000)
        assert latency_ms(computing, board, batch=4) == pytest.approx(4 * latency_ms(computing, board) - 3 * 0.03)
        assert latency_ms(moving, board, batch=4) == latency_ms(moving, board)


class TestAccelerator:
    def test_computes_integers_only(self) -> None:
        with pytest.raises(ValueError, match="fp32"):
            latency_ms(one(Kind.DENSE, macs=1), board_named("coral-usb"))

    def test_weights_beyond_its_memory_are_fetched_for_every_inference(self) -> None:
        board = board_named("coral-usb")
        small = latency_ms(one(Kind.DENSE, weights=8_000_000, precision="int8"), board)
        large = latency_ms(one(Kind.DENSE, weights=40_000_000, precision="int8"), board)
        # 32 MB at 320 MB/s = 100 ms more
        assert large - small == pytest.approx(100, rel=0.01)

    def test_mobilenet_v2_takes_what_the_vendor_says(self) -> None:
        # coral.ai FAQ: 2.5 ms
        table = mobilenet_v2(1.0, 224, Precision.INT8)
        assert latency_ms(table, board_named("coral-dev-board")) == pytest.approx(2.5, rel=0.1)


class TestArchitectures:
    @pytest.mark.parametrize(
        ("table", "millions"),
        [
            (mobilenet_v1(1.0, 224, Precision.FP32), 568.7),
            (mobilenet_v2(1.0, 224, Precision.FP32), 300.8),
            (mobilenet_v2(1.4, 224, Precision.FP32), 582.2),
        ],
    )
    def test_mac_counts_are_the_published_ones(self, table: OperatorTable, millions: float) -> None:
        assert round(table.n_macs / 1e6, 1) == millions

    def test_other_models_have_no_table(self) -> None:
        assert table_named("resnet50") is None
        assert table_named("mobilenet-v3-large_224_1.0_float") is None


class TestCalibration:
    @needs_rows
    @pytest.mark.parametrize("precision", ["fp32", "uint8"])
    def test_simulated_pi4_gives_the_published_rows_within_10_percent(self, precision: str) -> None:
        assert rms_log_error(PI4_ROWS, precision) <= 0.10

    @needs_rows
    def test_75_rows_are_compared(self) -> None:
        rows = compare_rows(PI4_ROWS)
        assert [sum(row.precision is wanted for row in rows) for wanted in Precision] == [38, 37]

    def test_file_without_such_rows_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("system,model,p50_ms\nfirefly,mobilenet-v1-1.0-224-quantized,10\n")
        with pytest.raises(ValueError, match="no uint8 row"):
            rms_log_error(path, "uint8")


class TestParameters:
    def test_pi5_is_4_8_times_as_fast(self) -> None:
        # aallan/benchmarking-ml-on-the-edge: 112.6 ms and 23.5 ms for one model
        table = mobilenet_v2(1.0, 224, Precision.FP32)
        ratio = latency_ms(table, board_named("raspberry-pi-4")) / latency_ms(table, board_named("raspberry-pi-5"))
        assert ratio == pytest.approx(4.8, rel=0.05)

    def test_version_is_the_hash_of_the_file(self) -> None:
        assert len(load_parameters().sha256) == 64

    def test_unknown_board_is_refused_with_the_known_ones(self) -> None:
        with pytest.raises(SettingsInvalid, match=r"raspberry-pi-4.*coral-dev-board"):
            board_named("commodore-64")

    def test_busy_boards_draw_more_than_idle_ones(self) -> None:
        for board in load_parameters().parameters.boards.values():
            assert board.power.busy_w.value > board.power.idle_w.value
