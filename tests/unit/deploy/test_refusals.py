"""Refusals at submission: what is certain from the facts of a model file."""

import subprocess
import sys
from dataclasses import replace

import pytest

from edgefleet_deploy.boards import BOARD_MEMORY_BYTES, least_memory_bytes
from edgefleet_deploy.refusals import (
    InputFacts,
    ModelSummary,
    refusals,
    refuse_board,
    refuse_memory,
    summary_of,
)
from edgefleet_deploy.targets import TARGETS, get_target

IMAGE = InputFacts("image", (None, 3, 32, 32), "float32")
NETWORK = ModelSummary("torch", "fp32", (IMAGE,), 2_000_000, architecture="resnet")


def codes(model: ModelSummary, target: str) -> list[str]:
    return [refusal.code for refusal in refusals(model, get_target(target))]


def test_a_float_network_of_the_zoo_is_refused_by_no_target_that_takes_fp32() -> None:
    for target in TARGETS.values():
        if "fp32" in target.precisions:
            assert refusals(NETWORK, target) == ()


def test_four_bit_activations_go_to_the_current_onnxruntime_alone_and_other_targets_say_so() -> None:
    for target in TARGETS.values():
        found = {refusal.code: refusal.message for refusal in refusals(replace(NETWORK, precision="int4"), target)}
        if target.name == "onnxruntime-current":
            assert found == {}
        else:
            assert "onnxruntime-current" in found["precision_not_on_target"]


@pytest.mark.parametrize(
    ("model", "target", "code"),
    [
        (replace(NETWORK, precision="int8"), "tensorrt-8.2", "precision_not_on_target"),
        (replace(NETWORK, precision="int4-weights"), "onnxruntime", "precision_not_on_target"),
        (replace(NETWORK, precision="int4"), "litert", "precision_not_on_target"),
        (replace(NETWORK, precision="int8-dynamic"), "onnxruntime-current", "dynamic_does_not_help"),
        (replace(NETWORK, form="onnx"), "coreml", "needs_torch_model"),
        (replace(NETWORK, inputs=(replace(IMAGE, shape=(None, 3, None, None)),)), "onnxruntime", "dynamic_shape"),
        (replace(NETWORK, inputs=(replace(IMAGE, shape=(None, 1, 1, 1, 1, 8)),)), "coreml", "rank_unsupported"),
        (replace(NETWORK, inputs=(replace(IMAGE, dtype="float64"),)), "tensorrt", "input_type_unsupported"),
        (replace(NETWORK, inputs=(replace(IMAGE, dtype="unsupported"),)), "onnxruntime", "input_type_unsupported"),
        (
            replace(NETWORK, form="onnx", operators=frozenset({"Conv", "OneHot"})),
            "tensorrt-8.2",
            "operator_unsupported",
        ),
        (replace(NETWORK, form="onnx", opset=17, operators=frozenset({"If"})), "tensorrt-8.2", "opset_too_new"),
        (replace(NETWORK, n_parameters=2_000_000_000), "tensorrt-8.2", "model_too_large"),
    ],
)
def test_what_cannot_work_is_refused_with_its_code(model: ModelSummary, target: str, code: str) -> None:
    assert codes(model, target) == [code]


def test_every_reason_is_given_at_once() -> None:
    broken = replace(NETWORK, precision="int8", inputs=(replace(IMAGE, shape=(None, None), dtype="float64"),))

    assert codes(broken, "tensorrt-8.2") == ["precision_not_on_target", "dynamic_shape", "input_type_unsupported"]


def test_one_hot_is_left_to_the_parser_of_newer_versions() -> None:
    assert codes(replace(NETWORK, form="onnx", operators=frozenset({"OneHot"})), "tensorrt") == []


def test_artifacts_for_another_board_are_refused_and_for_any_board_accepted() -> None:
    refusal = refuse_board(get_target("tensorrt-8.2"), "raspberry-pi-4")

    assert refusal is not None
    assert refusal.code == "board_not_for_target"
    assert "jetson-nano" in refusal.message
    assert refuse_board(get_target("tensorrt-8.2"), "jetson-nano") is None
    assert refuse_board(get_target("onnxruntime"), "raspberry-pi-4") is None


def test_memory_is_refused_only_when_the_largest_variant_is_too_small() -> None:
    # 300 million float weights are 1.2e9 bytes: more than the 1 GiB of a Pi 3, less than the 8 GiB of the largest Pi 4
    large = replace(NETWORK, n_parameters=300_000_000)

    refusal = refuse_memory(large, "raspberry-pi-3")
    assert refusal is not None
    assert refusal.code == "model_too_large"
    assert refuse_memory(large, "raspberry-pi-4") is None
    assert refuse_memory(replace(large, precision="int8"), "raspberry-pi-3") is None
    assert refuse_memory(replace(large, n_parameters=10**12), "linux-host") is None


def test_least_memory_is_the_weights_and_the_ends() -> None:
    assert least_memory_bytes(1000, "int4-weights", 10) == 500 + 40
    assert least_memory_bytes(1000, "fp32", 0) == 4000
    assert all(size > 0 for size in BOARD_MEMORY_BYTES.values())


def test_summary_is_read_from_the_facts_of_an_inspection() -> None:
    facts = {
        "format": "onnx",
        "inputs": [{"name": "x", "shape": [None, 8], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [None, 5], "dtype": "float32"}],
        "n_parameters": 45,
        "opset": 17,
        "operators": ["Gemm", "Relu"],
    }

    summary = summary_of(facts, "int8")

    assert (summary.form, summary.precision, summary.opset, summary.output_elements) == ("onnx", "int8", 17, 5)
    assert summary.inputs == (InputFacts("x", (None, 8), "float32"),)
    assert summary.operators == {"Gemm", "Relu"}


def test_importing_the_refusals_loads_neither_torch_nor_onnx() -> None:
    code = "import sys, edgefleet_deploy.refusals; print([n for n in ('torch', 'onnx', 'onnxruntime') if n in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert found.stdout.strip() == "[]"
