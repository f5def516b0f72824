import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefleet_deploy.manifest import ArtifactManifest, file_sha256, verify_file

DIGITS = {"kind": "packaged", "name": "digits"}


class RunStep(Protocol):
    def __call__(self, **fields: Any) -> tuple[int, list[dict[str, Any]]]: ...


def result_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert events[-1]["event"] == "done", events[-1]
    result: dict[str, Any] = events[-1]["result"]
    return result


def error_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert events[-1]["event"] == "failed", events[-1]
    error: dict[str, Any] = events[-1]["error"]
    return error


@pytest.fixture(scope="module")
def compiled(
    candidates: dict[str, Path], evaluation: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Precision -> (artifact, result), compiled in this process by the step's own task."""
    from edgefleet_deploy.step import compile_task

    done = {}
    for precision, path in candidates.items():
        folder = tmp_path_factory.mktemp(precision)
        request = {
            "task": "compile",
            "candidate": str(path),
            "target": {"name": "onnxruntime", "min_version": "1.10"},
            "data": DIGITS,
            "evaluation": str(evaluation),
            "recipe_sha256": "0" * 64,
            "seed": 1,
            "threads": 1,
            "output_dir": str(folder),
        }
        done[precision] = (folder / "model.onnx", compile_task(request, lambda *_args, **_detail: None))
    return done


def test_step_ends_with_an_artifact_that_its_manifest_describes(
    run_step: RunStep, candidates: dict[str, Path], evaluation: Path, tmp_path: Path
) -> None:
    status, events = run_step(candidate=candidates["int8"], data=DIGITS, evaluation=evaluation, output_dir=tmp_path)

    result = result_of(events)
    manifest = ArtifactManifest.model_validate(result["manifest"])
    verify_file(manifest, tmp_path / result["artifact"])
    assert status == 0
    assert [event["event"] for event in events[:-1]] == ["progress"] * (len(events) - 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["golden.npz", "model.onnx", "predictions.npz"]
    assert manifest.golden is not None
    assert file_sha256(tmp_path / result["golden"]) == manifest.golden.sha256
    assert (manifest.golden.n_samples, manifest.golden.source) == (8, "validation")
    with np.load(tmp_path / result["predictions"], allow_pickle=False) as file:
        n_right = int((file["prediction"] == np.load(evaluation)["y"]).sum())
        assert (file["label"] == np.load(evaluation)["y"]).all()
        assert file["n_classes"] == 10
    assert n_right == result["accuracy_host"]["n_correct"]
    assert result["accuracy_host"]["metrics"]["top1"] == result["accuracy_host"]["value"]
    assert result["accuracy_host"]["n"] > 200
    assert result["accuracy_host"]["value"] == result["accuracy_host"]["n_correct"] / result["accuracy_host"]["n"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_file_is_opset_13_and_ir_7_with_everything_inside(
    compiled: dict[str, tuple[Path, dict[str, Any]]], precision: str
) -> None:
    path, result = compiled[precision]
    model = onnx.load(path, load_external_data=False)

    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert (result["manifest"]["opset"], result["manifest"]["ir_version"]) == (13, 7)
    assert result["manifest"]["min_runtime_version"] == "1.10"
    [spec] = result["manifest"]["inputs"]
    assert (spec["name"], spec["shape"], spec["dtype"]) == ("input", ["N", 1, 8, 8], "float32")


def test_int8_file_is_at_least_three_and_a_half_times_smaller(
    compiled: dict[str, tuple[Path, dict[str, Any]]],
) -> None:
    floating, integer = (compiled[name][0].stat().st_size for name in ("fp32", "int8"))

    assert floating / integer >= 3.5


def test_every_weight_of_the_int8_file_is_int8_and_every_bias_int32(
    compiled: dict[str, tuple[Path, dict[str, Any]]],
) -> None:
    model = onnx.load(compiled["int8"][0])

    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) >= 2]
    assert len(weights) == 10
    assert {tensor.data_type for tensor in weights} == {TensorProto.INT8}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert sum(tensor.data_type == TensorProto.INT32 for tensor in model.graph.initializer) == 10


def test_manifest_lists_the_operators_of_the_file(compiled: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    """9 convolutions, a head and 3 residual additions, the same products in both precisions; weights a quarter."""
    tables = {name: result["manifest"]["operators"] for name, (_, result) in compiled.items()}

    assert [row["kind"] for row in tables["fp32"]].count("elementwise") == 3
    assert len(tables["fp32"]) == 13
    assert [row["macs"] for row in tables["int8"]] == [row["macs"] for row in tables["fp32"]]
    ratio = sum(row["weight_bytes"] for row in tables["fp32"]) / sum(row["weight_bytes"] for row in tables["int8"])
    assert 3.8 < ratio <= 4.0


def test_onnxruntime_uses_integer_kernels_for_the_int8_file(
    compiled: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(compiled["int8"][0]), options, providers=["CPUExecutionProvider"])

    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]

    assert "Conv" not in operators
    assert "Gemm" not in operators
    assert operators.count("QLinearConv") == 9
    assert operators.count("QGemm") == 1


def test_artifacts_equal_what_they_were_compiled_from(compiled: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    """Float: the same sums in another order. Integer: within a few steps of an 8-bit output of the simulation."""
    floating, integer = (compiled[name][1]["parity"]["outputs"][0] for name in ("fp32", "int8"))

    assert floating["max_diff_ratio"] < 1e-5
    assert integer["max_diff_steps"] <= 8.0
    assert integer["snr_db"] > 30.0
    assert integer["top1_agreement_clear"] >= 0.99


def test_batch_is_free(compiled: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    session = onnxruntime.InferenceSession(str(compiled["int8"][0]), providers=["CPUExecutionProvider"])

    for batch in (1, 7):
        assert session.run(None, {"input": np.ones((batch, 1, 8, 8), np.float32)})[0].shape == (batch, 10)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_artifact_runs_under_onnxruntime_1_10_on_python_3_6(
    compiled: dict[str, tuple[Path, dict[str, Any]]], precision: str
) -> None:
    interpreter = os.environ.get("EDGEFLEET_PY36")
    if not interpreter:
        pytest.skip("EDGEFLEET_PY36 names no Python 3.6 interpreter with onnxruntime 1.10")
    path = compiled[precision][0]
    code = (
        "import sys, numpy, onnxruntime; s = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']);"
        "print(onnxruntime.__version__, *s.run(None, {'input': numpy.full((1, 1, 8, 8), 0.5, 'f')})[0][0])"
    )
    done = subprocess.run([interpreter, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=120)
    version, *old = done.stdout.split()

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    new = session.run(None, {"input": np.full((1, 1, 8, 8), 0.5, np.float32)})[0][0]
    assert version.startswith("1.10")
    assert np.allclose([float(value) for value in old], new, atol=0.05 * np.ptp(new))


def own_model(path: Path) -> Path:
    """A person's own classifier of 8 x 8 digits, made with the onnx package alone, newer than the target's opset."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (32, 64), "b1": (32,), "w2": (512, 32), "b2": (512,), "w3": (10, 512), "b3": (10,)}
    tensors = [
        numpy_helper.from_array((0.2 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["f"]),
            helper.make_node("Gemm", ["f", "w1", "b1"], ["h1"], transB=1),
            helper.make_node("Relu", ["h1"], ["r1"]),
            helper.make_node("Gemm", ["r1", "w2", "b2"], ["h2"], transB=1),
            helper.make_node("Relu", ["h2"], ["r2"]),
            helper.make_node("Gemm", ["r2", "w3", "b3"], ["scores"], transB=1),
        ],
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


def quantized_copy(source: Path, target: Path) -> Path:
    from edgefleet_compression.candidate import load_candidate, save_candidate
    from edgefleet_compression.context import Context
    from edgefleet_compression.data.registry import load_data
    from edgefleet_compression.passes.application import apply
    from edgefleet_compression.passes.specs import Quantize

    context = Context(data=load_data(DIGITS), seed=1)
    return save_candidate(apply(Quantize(), load_candidate(source), context), target)


def test_own_onnx_file_goes_through_as_fp32_and_int8(run_step: RunStep, tmp_path: Path) -> None:
    own = own_model(tmp_path / "own.onnx")
    planned = quantized_copy(own, tmp_path / "planned.onnx")
    results = {}
    for precision, path in (("fp32", own), ("int8", planned)):
        folder = tmp_path / precision
        folder.mkdir()
        _, events = run_step(candidate=path, data=DIGITS, output_dir=folder)
        results[precision] = result_of(events)

    manifests = {name: ArtifactManifest.model_validate(result["manifest"]) for name, result in results.items()}
    assert {name: manifest.precision for name, manifest in manifests.items()} == {"fp32": "fp32", "int8": "int8"}
    assert all((manifest.opset, manifest.ir_version) == (13, 7) for manifest in manifests.values())
    assert manifests["fp32"].size_bytes / manifests["int8"].size_bytes > 2.5  # 13 bytes per channel remain
    assert results["int8"]["notes"] == ["opset_converted"]
    assert manifests["int8"].float_snr_db is not None
    assert manifests["int8"].float_snr_db > 25
    assert results["int8"]["accuracy_host"]["reason"] == "no_evaluation_data"


def test_truncated_candidate_fails_with_a_code_and_leaves_nothing(
    run_step: RunStep, candidates: dict[str, Path], tmp_path: Path
) -> None:
    whole = candidates["fp32"].read_bytes()
    for name in ("cut.safetensors", "cut.onnx"):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    output = tmp_path / "out"

    for name in ("cut.safetensors", "cut.onnx"):
        status, events = run_step(candidate=tmp_path / name, output_dir=output)
        assert status == 3
        assert error_of(events)["code"] == "file_corrupt"
    assert list(output.iterdir()) == []  # made by the step, with nothing left in it


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"target": {"name": "abacus"}}, "unknown_target"),
        ({"recipe_sha256": "xyz"}, "request_invalid"),
        ({"colour": "red"}, "request_invalid"),
        ({"data": {"kind": "packaged", "name": "nothing"}}, "data_unknown"),
        ({"candidate": "/nowhere/candidate.onnx"}, "file_missing"),
    ],
)
def test_bad_request_fails_with_a_code(
    run_step: RunStep, candidates: dict[str, Path], tmp_path: Path, fields: dict[str, Any], code: str
) -> None:
    status, events = run_step(**{"candidate": candidates["fp32"], "output_dir": tmp_path, **fields})

    assert status == 3
    assert error_of(events)["code"] == code
    assert error_of(events)["message"]


def test_closed_stdin_ends_the_child(candidates: dict[str, Path]) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "edgefleet_deploy.step"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )

    assert child.returncode != 0
    assert child.stdout == b""
