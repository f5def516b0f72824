"""Engines kept on the device, what is read of their layers, and what a Jetson says of itself."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent import inventory
from edgefleet_agent.inventory import ProbeFailure, detect_board, probe_runtimes
from edgefleet_agent.measure.conversation import Conversation, Deadline
from edgefleet_agent.measure.engine_build import build_engine_first
from edgefleet_agent.measure.engine_options import engine_options
from edgefleet_agent.measure.environment import Roots
from edgefleet_agent.measure.jetson import installed_version, jetson_labels
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime, runtime_for_file
from edgefleet_agent.measure.subject import Bench, EngineStore, Subject
from edgefleet_agent.runner.backend import LoadRequest
from edgefleet_agent.runner.cuda_memory import GpuFacts, load_library
from edgefleet_agent.runner.engine_cache import EngineCache, engine_key, engine_origin
from edgefleet_agent.runner.failure import RunnerFailure
from edgefleet_agent.runner.tensorrt_build import check_plan, version_numbers
from edgefleet_agent.runner.tensorrt_layers import LayerFacts, read_layers, read_profile, trace_of
from edgefleet_agent.runner.tensorrt_model import platform_release
from edgefleet_agent.wire.messages import RuntimeFacts
from edgefleet_agent.wire.report import BlobRef

ORIN = GpuFacts("Orin", "8.7", 12060, 12060, integrated=True, can_map_host_memory=True)


def cache_of(folder: Path, max_bytes: int = 10_000, floor: int = 0) -> EngineCache:
    return EngineCache(str(folder), max_bytes, floor)


def store(cache: EngineCache, name: str, size: int = 1000) -> str:
    origin = {"artifact_sha256": name}
    assert cache.store(origin, name.encode() * (size // len(name)))
    return engine_key(origin)


class TestEngineCache:
    def test_engine_comes_back_as_it_was_stored(self, tmp_path: Path) -> None:
        cache = cache_of(tmp_path)
        assert cache.store({"artifact_sha256": "a"}, b"engine\nwith\nlines")
        found = cache.find(engine_key({"artifact_sha256": "a"}))
        assert found is not None
        assert found.content == b"engine\nwith\nlines"
        assert found.origin == {"artifact_sha256": "a"}

    def test_unknown_key_is_not_found(self, tmp_path: Path) -> None:
        assert cache_of(tmp_path).find("0" * 64) is None

    @pytest.mark.parametrize(
        "damage", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: b"X" + raw, lambda raw: raw[:30]]
    )
    def test_damaged_file_is_thrown_away(self, tmp_path: Path, damage: Any) -> None:
        cache = cache_of(tmp_path)
        key = store(cache, "a")
        path = tmp_path / (key + ".engine")
        path.write_bytes(damage(path.read_bytes()))
        assert cache.find(key) is None
        assert not path.exists()

    def test_file_under_the_key_of_another_engine_is_thrown_away(self, tmp_path: Path) -> None:
        cache = cache_of(tmp_path)
        first, second = store(cache, "a"), store(cache, "b")
        (tmp_path / (first + ".engine")).replace(tmp_path / (second + ".engine"))
        assert cache.find(second) is None

    def test_least_recently_used_engine_makes_room(self, tmp_path: Path) -> None:
        cache = cache_of(tmp_path, max_bytes=2600)
        old, used = store(cache, "a"), store(cache, "b")
        for age_s, key in ((200, old), (100, used)):
            os.utime(tmp_path / (key + ".engine"), (1e9 - age_s, 1e9 - age_s))
        assert cache.find(old) is not None  # and is young again
        new = store(cache, "c")
        assert cache.find(used) is None
        assert cache.find(old) is not None
        assert cache.find(new) is not None

    def test_engine_larger_than_the_cache_is_not_kept(self, tmp_path: Path) -> None:
        cache = cache_of(tmp_path, max_bytes=500)
        assert not cache.store({"artifact_sha256": "a"}, bytes(1000))
        assert list(tmp_path.iterdir()) == []

    def test_full_disk_keeps_no_engine(self, tmp_path: Path) -> None:
        assert not cache_of(tmp_path, floor=1 << 60).store({"artifact_sha256": "a"}, bytes(10))
        assert list(tmp_path.iterdir()) == []

    def test_part_of_a_killed_run_is_cleared(self, tmp_path: Path) -> None:
        (tmp_path / "tmp123.part").write_bytes(bytes(100))
        store(cache_of(tmp_path), "a")
        assert [path.suffix for path in tmp_path.iterdir()] == [".engine"]


class TestEngineKey:
    def test_every_part_counts(self, tmp_path: Path) -> None:
        """The requirement's list: artifact, TensorRT, GPU, JetPack, flags; and the driver and CUDA."""
        artifact = tmp_path / "model.onnx"
        artifact.write_bytes(b"onnx")
        plan = {"flags": ["fp16"]}

        def key(version: str = "10.3.0", gpu: GpuFacts = ORIN, release: str = "R36.4.0", **options: Any) -> str:
            request = LoadRequest(str(artifact), 1, {"build_plan": plan, **options})
            return engine_key(engine_origin(version, gpu, release, request))

        keys = [
            key(),
            key(version="10.3.1"),
            key(gpu=ORIN._replace(name="Xavier")),
            key(gpu=ORIN._replace(compute_capability="7.2")),
            key(gpu=ORIN._replace(driver_version=12070)),
            key(gpu=ORIN._replace(runtime_version=12070)),
            key(release="R36.4.1"),
            key(build_plan={"flags": []}),
            key(artifact_sha256="0" * 64),
        ]
        assert len(set(keys)) == len(keys)
        assert key() == keys[0]

    def test_without_a_plan_the_batch_counts(self, tmp_path: Path) -> None:
        artifact = tmp_path / "model.onnx"
        artifact.write_bytes(b"onnx")
        origins = [engine_origin("10.3.0", ORIN, None, LoadRequest(str(artifact), 1, {"batch": n})) for n in (1, 8)]
        assert engine_key(origins[0]) != engine_key(origins[1])


class TestLayers:
    def test_detailed_layer_of_the_documentation(self) -> None:
        """The example of "Engine Inspector" (docs.nvidia.com/deeplearning/tensorrt), shortened."""
        layer = {
            "Name": "node_of_gpu_0/res4_0_branch2a_1 + node_of_gpu_0/res4_0_branch2a_bn_1",
            "LayerType": "CaskConvolution",
            "Outputs": [
                {
                    "Name": "gpu_0/res4_0_branch2a_bn_2",
                    "Dimensions": [16, 256, 28, 28],
                    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format.",
                }
            ],
            "TacticName": "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32",
            "TacticValue": "0x11bde0e1d9f2f35d",
        }
        (facts,) = read_layers({"Layers": [layer], "Bindings": ["a", "b"]})
        assert facts == LayerFacts(
            "node_of_gpu_0/res4_0_branch2a_1 + node_of_gpu_0/res4_0_branch2a_bn_1",
            "CaskConvolution",
            "INT8",
            "sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32",
            "GPU",
        )

    def test_format_of_11_has_a_type_of_its_own(self) -> None:
        tensor = {"Name": "t", "Format": "Row major linear FP16 format (kLINEAR)", "DataType": "Half"}
        (facts,) = read_layers({"Layers": [{"Name": "a", "Outputs": [tensor]}], "I/O Tensors": [{"Name": "t"}]})
        assert facts.precision == "FP16"

    def test_free_dimensions_hide_the_type(self) -> None:
        tensor = {"Name": "t", "Format/Datatype": "N/A due to dynamic shapes"}
        (facts,) = read_layers({"Layers": [{"Name": "a", "LayerType": "Reformat", "Outputs": [tensor]}]})
        assert facts.precision is None

    def test_names_only_engine_has_names_only(self) -> None:
        assert read_layers({"Layers": ["conv1"]}) == [LayerFacts("conv1", None, None, None, "GPU")]
        assert read_layers({}) == []

    @pytest.mark.parametrize("has_median", [False, True])
    def test_profile_of_8_has_no_median(self, has_median: bool) -> None:
        """exportJSONProfile of sampleReporting.cpp in 8.2 and 8.5."""
        entry = {"name": "conv", "timeMs": 30.0, "averageMs": 0.3, "percentage": 100.0}
        entry.update({"medianMs": 0.29} if has_median else {})
        (layer,) = read_profile([{"count": 100}, entry])
        assert (layer.name, layer.share) == ("conv", 1.0)
        assert layer.time_us == pytest.approx(300.0)

    def test_layer_without_facts_is_still_timed(self) -> None:
        (event,) = trace_of([("unknown", 0.5)], [])
        assert (event["name"], event["dur"]) == ("unknown_kernel_time", 500.0)
        assert event["args"]["provider"] == "GPU"


class TestPlans:
    def test_version_ends_where_its_numbers_end(self) -> None:
        assert version_numbers("8.2.1.8") == (8, 2, 1, 8)
        assert version_numbers("10.3.0rc1") == (10, 3)

    def test_fitting_plan_is_accepted(self) -> None:
        check_plan("8.2.1.8", {"min_version": "8.2", "max_version": "10.0", "flags": ["fp16"], "strongly_typed": False})
        check_plan("8.2.1.8", None)

    def test_options_carry_plan_tensors_and_store(self, tmp_path: Path) -> None:
        plan: dict[str, Any] = {"flags": []}
        artifact = BlobRef(sha256="a" * 64, size_bytes=1)
        subject = Subject(tmp_path / "m.onnx", artifact, "tensorrt", manifest={"build_plan": plan, "inputs": [1]})
        options = engine_options(subject, Bench(engines=EngineStore(tmp_path, 7, 8)))
        assert options["build_plan"] == plan
        assert options["artifact_sha256"] == "a" * 64
        assert options["engine_cache"] == {"folder": str(tmp_path), "max_bytes": 7, "free_floor_bytes": 8}

    def test_runtime_without_engines_gets_no_such_options(self, tmp_path: Path) -> None:
        artifact = BlobRef(sha256="a" * 64, size_bytes=1)
        assert engine_options(Subject(tmp_path / "m.onnx", artifact, "onnxruntime"), Bench()) == {}

    def test_onnx_file_without_a_named_runtime_stays_with_onnxruntime(self) -> None:
        found = runtime_for_file(Path("model.onnx"))
        assert found is not None
        assert found.name == "onnxruntime"


class TestBuildFirst:
    """A build may take an hour; meanwhile the lease wants signs of life, and a cancelled job must end."""

    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        return Subject(tmp_path / "m.onnx", BlobRef(sha256="a" * 64, size_bytes=1), "tensorrt")

    def test_runner_that_builds_may_be_silent_for_longer(self, subject: Subject, tmp_path: Path) -> None:
        bench = Bench()
        with Conversation(subject, bench, tmp_path, Deadline(60.0)) as talk:
            assert talk.load_limit_s == bench.limits.load_s + 3600.0
        with Conversation(replace(subject, runtime="onnxruntime"), bench, tmp_path, Deadline(60.0)) as talk:
            assert talk.load_limit_s == bench.limits.load_s

    def test_signs_of_life_go_on_while_it_builds(
        self, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The phase is announced without a silence, after which Conversation reports it again and again."""
        announced: list[tuple[str, float]] = []
        monkeypatch.setattr(Conversation, "begin", lambda *_: "3.6.9")
        monkeypatch.setattr(Conversation, "finish", lambda _: None)
        limits: list[float] = []

        def follow(_: Conversation, enter: Any) -> Any:
            limits.append(enter({"phase": "load"}))
            return {"result": {"engine": {"cached": False, "build_ms": 1234.5}}}

        monkeypatch.setattr(Conversation, "follow", follow)
        bench = Bench(on_phase=lambda phase, silent_for_s: announced.append((phase, silent_for_s)))
        engine = build_engine_first(subject, bench, tmp_path, Deadline(60.0))
        assert engine == {"cached": False, "build_ms": 1234.5}
        assert limits == [bench.limits.load_s + 3600.0]
        assert set(announced) == {("load", 0.0)}

    def test_runtime_without_engines_starts_no_runner(self, subject: Subject, tmp_path: Path) -> None:
        assert build_engine_first(replace(subject, runtime="litert"), Bench(), tmp_path, Deadline(60.0)) is None
        assert list(tmp_path.iterdir()) == []


def test_missing_cuda_library_says_what_was_tried() -> None:
    with pytest.raises(RunnerFailure, match=r"tried /nowhere/libcudart\.so") as caught:
        load_library("/nowhere/libcudart.so")
    assert caught.value.code == "runtime_unavailable"


class TestJetson:
    RELEASE = "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: Sat Feb 19 2022\n"
    STATUS = (
        "Package: nvidia-l4t-core\nStatus: install ok installed\nVersion: 32.7.1-20220219090432\n\n"
        "Package: nvidia-jetpack\nStatus: install ok installed\nDescription: NVIDIA Jetpack\n Meta: package\n"
        "Version: 4.6.1-b110\n"
    )

    def test_release_and_jetpack_become_labels(self, tmp_path: Path) -> None:
        for name, text in (("etc/nv_tegra_release", self.RELEASE), ("var/lib/dpkg/status", self.STATUS)):
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_text(text)
        assert jetson_labels(tmp_path) == {"l4t": "R32.7.1", "jetpack": "4.6.1-b110"}

    def test_other_boards_have_none(self, tmp_path: Path) -> None:
        assert jetson_labels(tmp_path) == {}

    @pytest.mark.parametrize("text", ["", "garbage\n", "# R32\n", "# R32 REVISION:\n"])
    def test_unreadable_release_is_none(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "release"
        path.write_text(text)
        assert platform_release(str(path)) is None

    def test_removed_package_has_no_version(self, tmp_path: Path) -> None:
        path = tmp_path / "status"
        path.write_text("Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 4.6\n")
        assert installed_version(path, "nvidia-jetpack") is None

    def test_orin_nano_is_a_kind_of_its_own(self, tmp_path: Path) -> None:
        (tmp_path / "proc/device-tree").mkdir(parents=True)
        (tmp_path / "proc/device-tree/model").write_text(
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit\0"
        )
        assert detect_board(Roots(proc=tmp_path / "proc", sys=tmp_path / "sys")) == "jetson-orin-nano"


class TestDriver:
    """An interpreter with the module wins over one that only knows a program for it."""

    @staticmethod
    def facts(interpreter: str, driver: "str | None") -> RuntimeFacts:
        return RuntimeFacts(
            name="tensorrt", version="10.3.0", interpreter=interpreter, python_version="3.10.0", driver=driver
        )

    @pytest.fixture
    def probed(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def probe(answers: "list[Any]") -> Any:
            remaining: Iterator[Any] = iter(answers)
            monkeypatch.setattr(inventory, "candidates", lambda *_: ["one", "two"])
            monkeypatch.setattr(inventory, "probe_runtime", lambda *_: next(remaining))
            return probe_runtimes({}, {"tensorrt": Runtime("tensorrt", "x", (".onnx",))})

        return probe

    def test_module_wins_wherever_it_is(self, probed: Any) -> None:
        found, failures = probed([self.facts("one", "trtexec"), self.facts("two", None)])
        assert [item.interpreter for item in found] == ["two"]
        assert failures == []

    def test_program_is_taken_where_no_module_is(self, probed: Any) -> None:
        miss = ProbeFailure("tensorrt", "two", "no module")
        found, failures = probed([self.facts("one", "trtexec"), miss])
        assert [(item.interpreter, item.driver) for item in found] == [("one", "trtexec")]
        assert failures == []

    def test_neither_is_a_failure_of_both(self, probed: Any) -> None:
        misses = [ProbeFailure("tensorrt", name, "no module") for name in ("one", "two")]
        assert probed(misses) == ([], misses)


def test_tensorrt_is_a_runtime_that_may_build_for_an_hour() -> None:
    assert RUNTIMES["tensorrt"].build_s == 3600.0
