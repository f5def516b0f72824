"""An int8 file for LiteRT, from the compile step's child to a measurement by the agent's runner."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from edgefleet_agent.measure.artifact import Measurement, Subject, blob_ref, measure_artifact
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_compression.data.registry import load_data
from edgefleet_deploy.litert_tools import missing_tools
from edgefleet_deploy.manifest import ArtifactManifest, verify_file

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason="needs the extra tflite (make setup EXTRAS=tflite)")

DIGITS = {"kind": "packaged", "name": "digits"}
QUICK = MeasureSettings(
    seconds=0.05, min_samples=70, max_seconds=5.0, warmup_seconds=0.0, warmup_iterations=3, deadline_s=60.0
)


class RunStep(Protocol):
    def __call__(self, **fields: Any) -> tuple[int, list[dict[str, Any]]]: ...


@pytest.fixture(scope="module")
def step(
    run_step: RunStep, candidates: dict[str, Path], evaluation: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """(folder, result) of the int8 candidate, compiled in a child as the controller does it."""
    folder = tmp_path_factory.mktemp("litert")
    status, events = run_step(
        candidate=candidates["int8"],
        target={"name": "litert"},
        data=DIGITS,
        evaluation=evaluation,
        output_dir=folder,
    )
    assert status == 0, events[-1]
    return folder, events[-1]["result"]


def subject_of(folder: Path, result: dict[str, Any], evaluation: Path) -> Subject:
    path = folder / result["artifact"]
    return Subject(
        path=path,
        artifact=blob_ref(path.read_bytes()),
        runtime=result["manifest"]["runtime"],
        settings=QUICK,
        evaluation_path=evaluation,
        golden_path=folder / result["golden"],
        manifest=result["manifest"],
    )


@pytest.fixture(scope="module")
def measured(step: tuple[Path, dict[str, Any]], evaluation: Path) -> Measurement:
    return measure_artifact(subject_of(*step, evaluation))


def test_manifest_says_how_a_runner_feeds_the_file(step: tuple[Path, dict[str, Any]]) -> None:
    folder, result = step
    manifest = ArtifactManifest.model_validate(result["manifest"])
    verify_file(manifest, folder / "model.tflite")
    (image,) = manifest.inputs

    assert (manifest.format, manifest.runtime, manifest.precision) == ("tflite", "litert", "int8")
    assert (image.shape, image.dtype, image.layout) == ((1, 8, 8, 1), "int8", "NHWC")
    # smallest to largest pixel of the training split, as the loader scales them, in 255 steps
    data = load_data(DIGITS)
    assert data is not None
    assert image.scale == pytest.approx(float(np.ptp(data.train.x)) / 255, rel=1e-3)
    assert manifest.min_runtime_version == "2.1"
    assert manifest.graph is not None
    assert manifest.graph.layout == "NHWC"


def test_file_computes_what_the_simulated_network_computes(step: tuple[Path, dict[str, Any]]) -> None:
    """With the candidate's own scales the integers are the same but for roundings, far above 40 dB."""
    _, result = step
    (output,) = result["parity"]["outputs"]

    assert result["parity"]["reference"] == "torch with simulated quantization"
    assert output["snr_db"] is None or output["snr_db"] > 40
    assert output["top1_agreement_clear"] == 1.0
    assert "ranges_recalibrated" not in result["notes"]


def test_device_and_host_agree_on_every_sample(step: tuple[Path, dict[str, Any]], measured: Measurement) -> None:
    _, result = step
    report = measured.report

    assert report.error is None
    assert report.golden is not None
    assert report.golden.passed
    assert report.accuracy is not None
    assert report.accuracy.n_correct == result["accuracy_host"]["n_correct"]
    assert report.latency_ms is not None
    assert report.latency_ms.n >= 70


def test_file_is_an_eighth_above_a_byte_per_weight(step: tuple[Path, dict[str, Any]]) -> None:
    """221,000 weights of one byte; names, scales and graph come on top."""
    folder, _ = step

    assert 221_000 < (folder / "model.tflite").stat().st_size < 221_000 * 1.08


def test_golden_outputs_catch_a_wrong_file(step: tuple[Path, dict[str, Any]], evaluation: Path, tmp_path: Path) -> None:
    """Wrong weights in a file that loads without a word: no latency is reported, but what is wrong."""
    folder, result = step
    content = bytearray((folder / "model.tflite").read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 4096)
    content[middle] = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()
    (tmp_path / "model.tflite").write_bytes(content)
    (tmp_path / result["golden"]).write_bytes((folder / result["golden"]).read_bytes())

    report = measure_artifact(replace(subject_of(tmp_path, result, evaluation))).report

    assert report.error is not None
    assert report.error.code is ErrorCode.WRONG_OUTPUT
    assert report.latency_ms is None
