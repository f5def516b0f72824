"""Which operators of a .tflite file would map to an Edge TPU."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefleet_deploy.edgetpu_checker import EdgeTpuReport, check_edgetpu
from edgefleet_deploy.edgetpu_limits import CHECKS
from edgefleet_deploy.edgetpu_model import read_tflite
from edgefleet_deploy.edgetpu_rules import GENERAL_LIMITS, RULES, SOURCES, OperatorRule
from edgefleet_deploy.errors import FileUnusable

SHARED = Path(__file__).resolve().parents[4] / "shared/data/edge-tflite"
DOCS = Path(__file__).resolve().parents[3] / "docs/edgetpu.md"

PAIRS = ("keras_lstm_mnist_ptq", "mobilenet_v1_0.25_128_quant", "mobilenet_v1_0.5_160_quant", "split_concat")
"""Models of google-coral/test_data with a compiled twin beside them."""
FLOATS = (
    "ad01_fp32",
    "kws_ref_model_float32",
    "pretrainedResnet",
    "pretrainedResnet_large_float",
    "vww_96_float",
)
"""Float models of mlcommons/tiny."""

WriteTflite = Callable[..., bytes]
RELU6 = 3


def shared(path: str) -> bytes:
    file = SHARED / path
    if not file.is_file():
        pytest.skip(f"{path}: the development data of shared/data is not here")
    return file.read_bytes()


def int32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def codes(report: EdgeTpuReport) -> list[str | None]:
    return [operator.code for operator in report.operators]


@pytest.fixture
def check(write_tflite: WriteTflite) -> Callable[..., EdgeTpuReport]:
    return lambda *args, **kwargs: check_edgetpu(write_tflite(*args, **kwargs))


Check = Callable[..., EdgeTpuReport]

IMAGE = {"shape": (1, 8, 8, 4)}
FILTER = {"shape": (4, 3, 3, 4), "content": bytes(144)}
BIAS = {"shape": (4,), "dtype": "int32", "content": int32(0, 0, 0, 0)}


def convolution(inputs: list[int], output: int, **more: Any) -> dict[str, Any]:
    return {"name": "CONV_2D", "inputs": inputs, "outputs": [output], **more}


def one(check: Check, name: str, *tensors: dict[str, Any], n_inputs: int = 1, **more: Any) -> EdgeTpuReport:
    """A network of one operator: its inputs in order, then its one output; constants are no inputs of the network."""
    last = len(tensors) - 1
    operator = {"name": name, "inputs": list(range(last)), "outputs": [last], **more}
    return check(tensors, [operator], [i for i in range(last) if "content" not in tensors[i]][:n_inputs], [last])


class TestAgainstCompiledTwins:
    @pytest.mark.parametrize("name", PAIRS)
    def test_what_the_vendor_mapped_wholly_is_mapped(self, name: str) -> None:
        report = check_edgetpu(shared(f"coral/{name}.tflite"))
        twin = read_tflite(shared(f"coral/{name}_edgetpu.tflite"))

        assert twin.n_compiled_parts == 1
        left_on_cpu = len(twin.operators) - twin.n_compiled_parts
        assert (report.mapped, report.n_operators - report.n_mapped) == (True, left_on_cpu)

    @pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant", "tf2_mobilenet_v2_1.0_224_ptq"])
    def test_coral_models_without_a_twin_are_mapped(self, name: str) -> None:
        assert check_edgetpu(shared(f"coral/{name}.tflite")).mapped

    @pytest.mark.parametrize("name", FLOATS)
    def test_float_models_do_not_map(self, name: str) -> None:
        report = check_edgetpu(shared(f"mlperf-tiny/{name}.tflite"))

        assert (report.mapped, report.n_mapped, report.macs_share) == (False, 0, 0.0)
        assert codes(report)[0] == "dtype_unsupported"

    def test_unknown_custom_operator_does_not_map(self) -> None:
        report = check_edgetpu(shared("coral/model_invoking_error.tflite"))

        assert codes(report) == ["operator_unsupported"]
        assert report.macs_share is None

    @pytest.mark.parametrize("name", PAIRS)
    def test_compiled_file_is_refused_as_such(self, name: str) -> None:
        with pytest.raises(FileUnusable) as caught:
            check_edgetpu(shared(f"coral/{name}_edgetpu.tflite"))
        assert caught.value.code == "already_compiled"


class TestMacs:
    @pytest.mark.parametrize(
        ("path", "millions"),
        [
            # tensorflow/models, MobileNet v1 table: 14 and 77 million; MobileNet v2 paper, table 4: 300
            ("coral/mobilenet_v1_0.25_128_quant", 14),
            ("coral/mobilenet_v1_0.5_160_quant", 77),
            ("coral/mobilenet_v2_1.0_224_quant", 300),
            # MLPerf Tiny, Banbury et al. 2021: ResNet-8 has 12.5 million
            ("mlperf-tiny/pretrainedResnet_quant", 12.5),
        ],
    )
    def test_are_the_published_ones(self, path: str, millions: float) -> None:
        assert check_edgetpu(shared(path + ".tflite")).macs == pytest.approx(millions * 1e6, rel=0.04)

    def test_lstm_multiplies_all_gates_at_every_step(self, check: Check) -> None:
        """Four gates of 2 units on 3 inputs over 5 steps: 5 * 4 * (2*3 + 2*2)."""
        data, state = {"shape": (1, 5, 3)}, {"shape": (1, 2), "variable": True}
        gates = [{"shape": (2, 3), "content": bytes(6)}] * 4 + [{"shape": (2, 2), "content": bytes(4)}] * 4
        bias = [{"shape": (2,), "dtype": "int32", "content": int32(0, 0)}] * 4
        cell = {**state, "dtype": "int16"}
        tensors = [data, *gates, *bias, state, cell, {"shape": (1, 5, 2)}]
        inputs = [0, *range(1, 9), -1, -1, -1, *range(9, 13), -1, -1, 13, 14]
        lstm = {"name": "UNIDIRECTIONAL_SEQUENCE_LSTM", "inputs": inputs, "outputs": [15]}
        report = check(tensors, [lstm], [0], [15])

        assert (report.mapped, report.macs) == (True, 200)

    def test_transposed_convolution_and_matrix_product(self, check: Check) -> None:
        shape = {"shape": (4,), "dtype": "int32", "content": int32(1, 4, 4, 5)}
        weights, data = {"shape": (5, 2, 2, 3), "content": bytes(60)}, {"shape": (1, 2, 2, 3)}
        assert one(check, "TRANSPOSE_CONV", shape, weights, data, {"shape": (1, 4, 4, 5)}).macs == 12 * 5 * 2 * 2
        product = one(check, "BATCH_MATMUL", {"shape": (2, 3)}, {"shape": (3, 4)}, {"shape": (2, 4)}, n_inputs=2)
        assert product.macs == 2 * 4 * 3


class TestPartition:
    def test_first_operator_unsupported_leaves_everything_on_the_cpu(self, check: Check) -> None:
        report = check(
            [IMAGE, IMAGE, FILTER, BIAS, IMAGE],
            [{"name": "HARD_SWISH", "inputs": [0], "outputs": [1]}, convolution([1, 2, 3], 4)],
            [0],
            [4],
        )

        assert (report.mapped, report.n_mapped, report.macs_share) == (False, 0, 0.0)
        assert codes(report) == ["operator_unsupported", "after_unsupported"]
        assert report.reasons[0] == "operator_unsupported: operator 0 HARD_SWISH: the Edge TPU has no such operator"
        assert report.reasons[1] == "after_unsupported: 1 operators after it run on the CPU as well"

    def test_share_is_of_the_products_before_the_cut(self, check: Check) -> None:
        """The second convolution has a quarter of the first's output values."""
        small = {"shape": (1, 4, 4, 4)}
        report = check(
            [IMAGE, FILTER, BIAS, IMAGE, IMAGE, small],
            [
                convolution([0, 1, 2], 3),
                {"name": "GELU", "inputs": [3], "outputs": [4]},
                convolution([4, 1, 2], 5),
            ],
            [0],
            [5],
        )

        assert [operator.placement for operator in report.operators] == ["mapped", "unsupported", "after_unsupported"]
        assert report.macs_share == pytest.approx(0.8)

    def test_reason_of_its_own_is_kept_behind_the_cut(self, check: Check) -> None:
        report = check(
            [IMAGE, IMAGE, IMAGE],
            [{"name": "GELU", "inputs": [0], "outputs": [1]}, {"name": "ELU", "inputs": [1], "outputs": [2]}],
            [0],
            [2],
        )
        assert codes(report) == ["operator_unsupported", "operator_unsupported"]

    def test_conversions_at_the_ends_stay_on_the_cpu_without_a_cut(self, check: Check) -> None:
        real = {**IMAGE, "dtype": "float32"}
        report = check(
            [real, IMAGE, FILTER, BIAS, IMAGE, real],
            [
                {"name": "QUANTIZE", "inputs": [0], "outputs": [1]},
                convolution([1, 2, 3], 4),
                {"name": "DEQUANTIZE", "inputs": [4], "outputs": [5]},
            ],
            [0],
            [5],
        )

        assert [operator.placement for operator in report.operators] == ["boundary", "mapped", "boundary"]
        assert (report.mapped, report.macs_share) == (False, 1.0)

    def test_conversion_in_the_middle_cuts(self, check: Check) -> None:
        real = {**IMAGE, "dtype": "float32"}
        report = check(
            [IMAGE, real, IMAGE],
            [
                {"name": "DEQUANTIZE", "inputs": [0], "outputs": [1]},
                {"name": "QUANTIZE", "inputs": [1], "outputs": [2]},
            ],
            [0],
            [2],
        )
        assert codes(report) == ["operator_unsupported", "dtype_unsupported"]

    def test_transformer_does_not_map(self, check: Check) -> None:
        """Embedding first, as in every network of text."""
        tokens = {"shape": (1, 16), "dtype": "int32"}
        table = {"shape": (100, 8), "dtype": "float32", "content": bytes(3200)}
        hidden = {"shape": (16, 8), "dtype": "float32"}
        scores = {"shape": (16, 16), "dtype": "float32"}
        report = check(
            [tokens, table, hidden, scores],
            [
                {"name": "EMBEDDING_LOOKUP", "inputs": [0, 1], "outputs": [2]},
                {"name": "BATCH_MATMUL", "inputs": [2, 2], "outputs": [3], "options": {1: ("int8", 1)}},
            ],
            [0],
            [3],
        )
        assert (report.mapped, report.n_mapped) == (False, 0)

    def test_control_flow_is_refused_as_a_whole(self, check: Check) -> None:
        report = check([IMAGE, IMAGE], [{"name": "RELU", "inputs": [0], "outputs": [1]}], [0], [1], n_subgraphs=2)
        assert [operator.placement for operator in report.operators] == ["not_compiled"]
        assert report.reasons == ("subgraphs: the file has 2 subgraphs (control flow); the compiler takes one",)


VECTOR = {"shape": (1, 10)}
WIDE = {"shape": (2, 10)}
AXES = {"shape": (2,), "dtype": "int32"}


class TestLimits:
    """One test row per limit: the same operator within it and beyond it."""

    def test_float_weights_bias_and_output(self, check: Check) -> None:
        def report(weights: str = "int8", bias: str = "int32", output: str = "int8") -> list[str | None]:
            tensors: list[dict[str, Any]] = [
                IMAGE,
                {**FILTER, "dtype": weights},
                {**BIAS, "dtype": bias},
                {**IMAGE, "dtype": output},
            ]
            return codes(one(check, "CONV_2D", *tensors))

        assert report() == report(weights="uint8") == [None]
        assert report(weights="float32") == report(bias="int8") == report(output="float32") == ["dtype_unsupported"]

    @pytest.mark.parametrize(
        ("shape", "signature", "code"),
        [
            ((1, 8, 8, 4), (-1, 8, 8, 4), None),  # interpreters allocate by the shape
            ((1, 8, 8, 4), (1, -1, 8, 4), "shape_dynamic"),
            ((2, 8, 8, 4), (-1, 8, 8, 4), "shape_dynamic"),
            ((2, 8, 8, 4), (2, 8, 8, 4), "rank_unsupported"),
            ((1, 1, 8, 8, 4), (1, 1, 8, 8, 4), None),
            ((1, 3, 8, 8, 4), (1, 3, 8, 8, 4), "rank_unsupported"),
        ],
    )
    def test_sizes_are_fixed_and_three_dimensions(
        self, check: Check, shape: tuple[int, ...], signature: tuple[int, ...], code: str | None
    ) -> None:
        tensor = {"shape": shape, "signature": signature}
        report = one(check, "RELU", tensor, tensor)

        assert codes(report) == [code]
        free_batch = code is None and -1 in signature
        assert any("batch is free" in warning for warning in report.warnings) == (free_batch or code == "shape_dynamic")

    def test_computed_weights_and_shapes(self, check: Check) -> None:
        computed = {key: value for key, value in FILTER.items() if key != "content"}
        assert codes(one(check, "CONV_2D", IMAGE, computed, BIAS, IMAGE, n_inputs=2)) == ["parameter_not_constant"]
        flat = {"shape": (1, 256)}
        assert codes(one(check, "RESHAPE", IMAGE, AXES, flat, n_inputs=2)) == ["parameter_not_constant"]
        assert codes(one(check, "RESHAPE", IMAGE, {**AXES, "content": int32(1, 256)}, flat)) == [None]

    @pytest.mark.parametrize(("name", "field"), [("AVERAGE_POOL_2D", 5), ("MAX_POOL_2D", 5), ("CONCATENATION", 1)])
    def test_fused_activations_of_pools_and_concatenation(self, check: Check, name: str, field: int) -> None:
        plain = one(check, name, IMAGE, IMAGE)
        fused = one(check, name, IMAGE, IMAGE, options={field: ("int8", RELU6)})
        assert (codes(plain), codes(fused)) == ([None], ["fused_activation"])

    def test_fused_activation_of_a_convolution_is_fine(self, check: Check) -> None:
        assert one(check, "CONV_2D", IMAGE, FILTER, BIAS, IMAGE, options={3: ("int8", RELU6)}).mapped

    @pytest.mark.parametrize(("name", "first"), [("CONV_2D", 4), ("DEPTHWISE_CONV_2D", 5)])
    def test_dilations_differ(self, check: Check, name: str, first: int) -> None:
        def dilated(x: int, y: int) -> list[str | None]:
            options = {first: ("int32", x), first + 1: ("int32", y)}
            return codes(one(check, name, IMAGE, FILTER, BIAS, IMAGE, options=options))

        assert (dilated(2, 2), dilated(2, 1)) == ([None], ["dilation_unequal"])

    def test_concatenated_constant_is_zero(self, check: Check) -> None:
        """Zero is what the zero point stands for."""
        pad, both = {"shape": (1, 4), "zero_point": -128}, {"shape": (1, 14)}
        zero = one(check, "CONCATENATION", VECTOR, {**pad, "content": b"\x80" * 4}, both)
        other = one(check, "CONCATENATION", VECTOR, {**pad, "content": b"\x80\x80\x80\x81"}, both)
        third = one(check, "CONCATENATION", VECTOR, VECTOR, {**pad, "content": b"\x80" * 4}, both, n_inputs=2)
        assert [codes(report)[0] for report in (zero, other, third)] == [None, "concat_constant", "concat_constant"]

    def test_fully_connected_format_and_output(self, check: Check) -> None:
        weights = {"shape": (10, 10), "content": bytes(100)}
        bias = {"shape": (10,), "dtype": "int32", "content": bytes(40)}
        shuffled = one(check, "FULLY_CONNECTED", VECTOR, weights, bias, VECTOR, version=4, options={1: ("int8", 1)})
        wide = one(check, "FULLY_CONNECTED", WIDE, weights, bias, WIDE, version=4)
        assert (codes(shuffled), codes(wide)) == (["weights_format"], ["output_not_1d"])
        assert one(check, "FULLY_CONNECTED", VECTOR, weights, bias, VECTOR, version=4).mapped

    @pytest.mark.parametrize(
        ("shape", "code"), [((1, 16000), None), ((1, 16001), "softmax_too_long"), ((2, 10), "input_not_1d")]
    )
    def test_softmax(self, check: Check, shape: tuple[int, int], code: str | None) -> None:
        assert codes(one(check, "SOFTMAX", {"shape": shape}, {"shape": shape})) == [code]

    @pytest.mark.parametrize(
        ("channels", "axes", "code"),
        [
            (4, (1, 2), None),
            (3, (1, 2), None),
            (4, (3,), None),
            (3, (-1,), "channels_not_multiple_of_4"),
            (4, (0,), "batch_axis"),
        ],
    )
    def test_mean(self, check: Check, channels: int, axes: tuple[int, ...], code: str | None) -> None:
        data = {"shape": (1, 8, 8, channels)}
        axis = {"shape": (len(axes),), "dtype": "int32", "content": int32(*axes)}
        assert codes(one(check, "MEAN", data, axis, {"shape": (1, channels)})) == [code]

    @pytest.mark.parametrize("name", ["REDUCE_MAX", "REDUCE_MIN"])
    def test_reductions_over_the_batch(self, check: Check, name: str) -> None:
        axis = {"shape": (1,), "dtype": "int32", "content": int32(-4)}
        assert codes(one(check, name, IMAGE, axis, {"shape": (8, 8, 4)})) == ["batch_axis"]

    def test_padding_of_the_batch(self, check: Check) -> None:
        def padded(*amounts: int) -> list[str | None]:
            pads = {"shape": (4, 2), "dtype": "int32", "content": int32(*amounts)}
            return codes(one(check, "PAD", IMAGE, pads, {"shape": (1, 10, 10, 4)}))

        assert padded(0, 0, 1, 1, 1, 1, 0, 0) == [None]
        assert padded(0, 1, 1, 1, 1, 1, 0, 0) == ["batch_axis"]

    def test_packing_and_splitting_of_the_batch(self, check: Check) -> None:
        image = {"shape": (8, 8, 4)}
        packed = [one(check, "PACK", image, IMAGE, options={1: ("int32", axis)}) for axis in (0, 1)]
        assert [codes(report)[0] for report in packed] == ["batch_axis", None]
        axes = [{"shape": (), "dtype": "int32", "content": int32(axis)} for axis in (0, 3)]
        split = [one(check, "SPLIT", axis, IMAGE, IMAGE) for axis in axes]
        assert [codes(report)[0] for report in split] == ["batch_axis", None]

    def test_alpha_has_one_value_a_channel(self, check: Check) -> None:
        shared_axes = one(check, "PRELU", IMAGE, {"shape": (1, 1, 4), "content": bytes(4)}, IMAGE)
        full = one(check, "PRELU", IMAGE, {"shape": (8, 8, 4), "content": bytes(256)}, IMAGE)
        assert (codes(shared_axes), codes(full)) == ([None], ["alpha_not_1d"])

    @pytest.mark.parametrize(
        ("before", "after", "code"),
        # the vendor's own examples: [y][x][z] = 1,1,10 and 1,5,10 are fine, 5,1,10 is not
        [((1, 1, 10), (10,), None), ((1, 5, 10), (5, 10), None), ((5, 1, 10), (5, 10), "squeeze_inner")],
    )
    def test_squeeze(self, check: Check, before: tuple[int, ...], after: tuple[int, ...], code: str | None) -> None:
        assert codes(one(check, "SQUEEZE", {"shape": before}, {"shape": after})) == [code]

    def test_strided_slice(self, check: Check) -> None:
        def sliced(stride: int, **options: Any) -> list[str | None]:
            places: list[dict[str, Any]] = [
                {"shape": (2,), "dtype": "int32", "content": int32(*values)} for values in ((0, 0), (1, 5))
            ]
            strides: dict[str, Any] = {"shape": (2,), "dtype": "int32", "content": int32(1, stride)}
            return codes(one(check, "STRIDED_SLICE", VECTOR, *places, strides, {"shape": (1, 5)}, **options))

        assert (sliced(1), sliced(2)) == ([None], ["stride_not_1"])
        assert sliced(1, options={2: ("int32", 1)}) == sliced(1, options={3: ("int32", 1)}) == ["slice_mask"]


class TestVersions:
    @pytest.mark.parametrize(
        ("name", "version", "code"),
        [
            ("CONV_2D", 3, None),
            ("CONV_2D", 5, None),
            ("CONV_2D", 6, "version_unsupported"),  # google-coral/edgetpu issue 631
            ("QUANTIZE", 3, "version_unsupported"),  # issue 879
        ],
    )
    def test_too_new_ones_do_not_map(self, check: Check, name: str, version: int, code: str | None) -> None:
        tensors = (IMAGE, FILTER, BIAS, IMAGE) if name == "CONV_2D" else (IMAGE, IMAGE)
        assert codes(one(check, name, *tensors, version=version)) == [code]

    def test_unseen_one_maps_with_a_warning(self, check: Check) -> None:
        assert one(check, "CONV_2D", IMAGE, FILTER, BIAS, IMAGE, version=3).warnings == ()
        unseen = one(check, "CONV_2D", IMAGE, FILTER, BIAS, IMAGE, version=5)
        assert (unseen.mapped, unseen.warnings) == (True, ("CONV_2D x1: version 5 was not seen on an Edge TPU",))

    @pytest.mark.parametrize(("n_scales", "is_warned"), [(1, False), (10, True)])
    def test_scale_per_channel_of_a_dense_layer_is_a_warning(
        self, check: Check, n_scales: int, is_warned: bool
    ) -> None:
        weights = {"shape": (10, 10), "content": bytes(100), "n_scales": n_scales}
        report = one(check, "FULLY_CONNECTED", VECTOR, weights, VECTOR, version=4)

        assert report.mapped
        assert any("one scale per channel" in warning for warning in report.warnings) is is_warned


class TestUnusableFiles:
    @pytest.mark.parametrize("content", [b"", b"TFL3", b"\x00" * 64, b"PK\x03\x04" * 20, b"\x1c\x00\x00\x00ONNX" * 9])
    def test_other_files_are_told_apart(self, content: bytes) -> None:
        with pytest.raises(FileUnusable) as caught:
            check_edgetpu(content)
        assert caught.value.code == "not_tflite"

    def test_every_truncation_is_refused(self, write_tflite: WriteTflite) -> None:
        whole = write_tflite([IMAGE, FILTER, BIAS, IMAGE], [convolution([0, 1, 2], 3)], [0], [3])
        assert check_edgetpu(whole).mapped
        unused = 12  # the file ends with its first buffer, which is empty by convention and never read
        for length in range(len(whole) - unused):
            with pytest.raises(FileUnusable):
                check_edgetpu(whole[:length])

    def test_any_changed_byte_gives_a_report_or_a_refusal(self, write_tflite: WriteTflite) -> None:
        whole = write_tflite([IMAGE, FILTER, BIAS, IMAGE], [convolution([0, 1, 2], 3)], [0], [3])
        n_refused = 0
        for place in range(len(whole)):
            for value in (0x00, 0x7F, 0xFF):
                try:
                    check_edgetpu(whole[:place] + bytes([value]) + whole[place + 1 :])
                except FileUnusable:
                    n_refused += 1
        assert n_refused > 100

    def test_network_without_operators_is_refused(self, write_tflite: WriteTflite) -> None:
        with pytest.raises(FileUnusable) as caught:
            check_edgetpu(write_tflite([IMAGE], [], [0], [0]))
        assert caught.value.code == "file_damaged"


def page_row(rule: OperatorRule) -> str:
    """A rule as docs/edgetpu.md shows it."""
    versions = ", ".join(f"{version} ({source})" for version, source in rule.versions.items()) or "-"
    if rule.refused_from is not None:
        versions += f"; refused from {rule.refused_from} ({rule.refused_source})"
    notes = [
        f"{limit.text} ({limit.source}{'' if limit.confidence == 'documented' else ', ' + limit.confidence})"
        for limit in rule.limits
    ]
    notes += [f"caution: {rule.caution} ({rule.caution_source})"] if rule.caution else []
    return f"| {rule.name} | {rule.source} | {versions} | {'; '.join(notes) or '-'} |"


class TestRules:
    def test_every_source_is_known_and_every_limit_has_a_check(self) -> None:
        limits = [limit for rule in RULES.values() for limit in rule.limits]
        sources = {rule.source for rule in RULES.values()} | {limit.source for limit in (*limits, *GENERAL_LIMITS)}
        sources |= {source for rule in RULES.values() for source in rule.versions.values()}
        sources |= {rule.refused_source for rule in RULES.values() if rule.refused_from is not None}
        sources |= {rule.caution_source for rule in RULES.values() if rule.caution}
        assert sources | {"pull-2602"} == set(SOURCES)
        assert {limit.code for limit in (*limits, *GENERAL_LIMITS)} == set(CHECKS)

    def test_page_shows_every_rule_and_source(self) -> None:
        lines = set(DOCS.read_text().splitlines())
        wanted = {page_row(rule) for rule in RULES.values()}
        wanted |= {f"| `{limit.code}` | {limit.text} | {limit.source} |" for limit in GENERAL_LIMITS}
        wanted |= {f"| {key} | {text} |" for key, text in SOURCES.items()}
        assert wanted - lines == set()

    def test_refused_versions_are_none_that_was_seen(self) -> None:
        assert all(max(rule.versions, default=0) < (rule.refused_from or 99) for rule in RULES.values())

    def test_report_is_json(self, check: Check) -> None:
        document = one(check, "GELU", IMAGE, IMAGE).as_json()
        assert document["operators"][0] == {
            "index": 0,
            "name": "GELU",
            "version": 1,
            "placement": "unsupported",
            "macs": 0,
            "code": "operator_unsupported",
            "reason": "the Edge TPU has no such operator",
            "warnings": [],
            "mapped": False,
        }
        assert (document["mapped"], document["n_mapped"], document["n_operators"]) == (False, 0, 1)
