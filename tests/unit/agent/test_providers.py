"""Execution providers and delegates: honoured, or refused with a code; never replaced in silence."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.artifact import Subject, measure_artifact
from edgefleet_agent.measure.wishes import require_possible
from edgefleet_agent.runner import onnxruntime_
from edgefleet_agent.runner.backend import LoadRequest
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import BlobRef

CPU, XNNPACK = "CPUExecutionProvider", "XnnpackExecutionProvider"


class FakeSession:
    """A session that runs where ``used`` says, whatever was asked for."""

    used: "list[str]" = []
    asked: "list[Any]" = []

    def __init__(self, _artifact: str, _options: object, providers: "list[Any]") -> None:
        FakeSession.asked = providers

    def get_providers(self) -> "list[str]":
        return FakeSession.used

    def get_inputs(self) -> "list[Any]":
        return []

    get_outputs = get_inputs

    def run(self, _names: None, _feeds: object) -> "list[Any]":
        return []


@pytest.fixture
def fake_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [XNNPACK, CPU])


def open_with(used: "list[str]", **options: Any) -> Any:
    FakeSession.used = used
    return onnxruntime_.open_model(LoadRequest("model.onnx", 3, options))


@pytest.mark.usefixtures("fake_onnxruntime")
class TestOnnxruntime:
    def test_without_a_wish_it_is_the_cpu(self) -> None:
        assert open_with([CPU]).facts["providers"] == [CPU]
        assert FakeSession.asked == [CPU]

    @pytest.mark.parametrize("name", ["XnnpackExecutionProvider", "xnnpack", "XNNPACK"])
    def test_a_provider_is_known_by_its_full_or_short_name(self, name: str) -> None:
        assert open_with([XNNPACK, CPU], provider=name).facts["providers"] == [XNNPACK, CPU]
        assert FakeSession.asked == [(XNNPACK, {"intra_op_num_threads": "3"}), CPU]

    def test_an_unknown_provider_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(RunnerFailure, match=XNNPACK) as caught:
            open_with([CPU], provider="CUDAExecutionProvider")
        assert caught.value.code == "provider_unavailable"

    def test_a_provider_that_fell_back_to_the_cpu_is_refused(self) -> None:
        with pytest.raises(RunnerFailure, match="could not be used") as caught:
            open_with([CPU], provider="xnnpack")
        assert caught.value.code == "provider_unavailable"

    def test_a_delegate_is_refused(self) -> None:
        with pytest.raises(RunnerFailure, match="no delegates") as caught:
            open_with([CPU], delegate="xnnpack")
        assert caught.value.code == "provider_unavailable"


def subject(runtime: str, **settings: Any) -> Subject:
    artifact = BlobRef(sha256="0" * 64, size_bytes=1)
    return Subject(Path("m"), artifact, runtime, settings=MeasureSettings(**settings))


@pytest.mark.parametrize(
    ("runtime", "settings"),
    [
        ("litert", {"provider": "CPU"}),
        ("onnxruntime", {"delegate": "xnnpack"}),
        ("tensorrt", {"provider": "CUDA"}),
        ("edgetpu", {"delegate": "none"}),
    ],
)
def test_a_wish_that_a_runtime_would_ignore_fails_the_run(runtime: str, settings: "dict[str, str]") -> None:
    with pytest.raises(MeasurementFailed):
        require_possible(subject(runtime, **settings))
    error = measure_artifact(subject(runtime, **settings)).report.error
    assert error is not None
    assert error.code is ErrorCode.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize(
    ("runtime", "settings"),
    [("litert", {"delegate": "none"}), ("onnxruntime", {"provider": "CPU"}), ("tensorrt", {}), ("scripted", {})],
)
def test_a_wish_that_a_runtime_knows_passes(runtime: str, settings: "dict[str, str]") -> None:
    require_possible(subject(runtime, **settings))
