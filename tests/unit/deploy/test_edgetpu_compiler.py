"""From a .tflite file to an Edge TPU file, with an executable in place of the vendor's edgetpu_compiler."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.edgetpu import EdgeTpuCompiler
from edgefleet_deploy.errors import (
    CandidateRefused,
    CompilerFailed,
    CompilerUnavailable,
    DeployError,
    FileUnusable,
)
from edgefleet_deploy.manifest import ParityReport, ParityTolerance, TensorSpec
from edgefleet_deploy.targets import Target

WriteTflite = Callable[..., bytes]

TARGET = Target(
    name="coral-test",
    runtime="edgetpu",
    file_format="edgetpu",
    min_version="14",
    opset=0,
    ir_version=0,
    activation_type="int8",
    weight_type="int8",
    extension=".edgetpu.tflite",
    precisions=("int8",),
)
IMAGE = {"shape": (1, 8, 8, 4)}
INT8: Any = SimpleNamespace(traits=SimpleNamespace(precision="int8"))

PARITY = ParityReport(
    reference="torch",
    samples="random",
    n_samples=1,
    outputs=(),
    tolerance=ParityTolerance(max_diff_ratio=None, max_diff_steps=None, min_snr_db=None, min_top1_agreement_clear=None),
)

TOOL = """\
#!{python}
import os, pathlib, subprocess, sys, time
folder = pathlib.Path({folder!r})
if "--help" in sys.argv:
    print("-s, --show_operations" + {help_text!r})
    sys.exit(0)
(folder / "arguments").write_text("\\n".join(sys.argv[1:]))
print((folder / "output").read_text(), flush=True)
if (folder / "hang").exists():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "child").write_text(str(child.pid))
    time.sleep(600)
out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
for name in ("model_edgetpu.tflite", "model_edgetpu.log"):
    if (folder / name).exists():
        (out / name).write_bytes((folder / name).read_bytes())
sys.exit(int((folder / "status").read_text()))
"""

HEAD = """\
Edge TPU Compiler version 16.0.384591198
Model compiled successfully in 3 ms.
On-chip memory used for caching model parameters: 2.00KiB
On-chip memory remaining for caching model parameters: 7.50MiB
Off-chip memory used for streaming uncached model parameters: {streamed}
Number of Edge TPU subgraphs: 1
"""
TABLE = """
Operator                       Count      Status

RELU                           1          Mapped to Edge TPU
{more}"""


@dataclass
class FakeTool:
    """What the executable does, as files in its folder."""

    folder: Path

    def install(self, monkeypatch: pytest.MonkeyPatch, *, help_text: str = " -m, --min_runtime_version") -> None:
        tool = self.folder / "bin" / "edgetpu_compiler"
        tool.parent.mkdir()
        tool.write_text(TOOL.format(python=sys.executable, folder=str(self.folder), help_text=help_text))
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tool.parent))

    def answers(
        self,
        output: str,
        *,
        status: int = 0,
        compiled: bytes | None = None,
        log: str | None = None,
        hangs: bool = False,
    ) -> None:
        (self.folder / "output").write_text(output)
        (self.folder / "status").write_text(str(status))
        if compiled is not None:
            (self.folder / "model_edgetpu.tflite").write_bytes(compiled)
        if log is not None:
            (self.folder / "model_edgetpu.log").write_text(log)
        if hangs:
            (self.folder / "hang").touch()

    @property
    def arguments(self) -> Sequence[str]:
        return (self.folder / "arguments").read_text().splitlines()


class PlainCompiler:
    """Stands for the LiteRT compiler: always the same file."""

    runtime = "litert"

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def refuse(self, traits: Any, target: Target) -> str | None:
        return None

    def compile(self, candidate: Any, context: CompileContext) -> CompiledFile:
        assert context.target.name == "litert"
        spec = TensorSpec(name="image", shape=(1, 8, 8, 4), dtype="int8")
        return CompiledFile(
            payload=self._payload,
            precision="int8",
            opset=0,
            ir_version=0,
            min_runtime_version="2.1",
            inputs=(spec,),
            outputs=(spec,),
            parity=PARITY,
            tool_versions={"converter": "1.0"},
            notes=("calibration_random",),
        )

    def open(self, payload: bytes, *, threads: int) -> Any:
        return payload, threads


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTool:
    folder = tmp_path / "tool"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    return FakeTool(folder)


@pytest.fixture
def plain(write_tflite: WriteTflite) -> bytes:
    return write_tflite([IMAGE, IMAGE], [{"name": "RELU", "inputs": [0], "outputs": [1]}], [0], [1])


@pytest.fixture
def compiled(write_tflite: WriteTflite) -> bytes:
    return write_tflite([IMAGE, IMAGE], [{"name": "edgetpu-custom-op", "inputs": [0], "outputs": [1]}], [0], [1])


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompileContext:
    known = "edgefleet_deploy.edgetpu.get_target"
    monkeypatch.setattr(known, lambda name: replace(TARGET, name=name, file_format="tflite", runtime=name))
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    return CompileContext(target=TARGET, work_dir=work_dir, data=None, seed=0, threads=1)


def run(payload: bytes, context: CompileContext, *, timeout_s: float = 60.0) -> CompiledFile:
    return EdgeTpuCompiler(plain_compiler=lambda target: PlainCompiler(payload), timeout_s=timeout_s).compile(
        INT8, context
    )


def failure(payload: bytes, context: CompileContext, *, timeout_s: float = 60.0) -> DeployError:
    with pytest.raises(DeployError) as caught:
        run(payload, context, timeout_s=timeout_s)
    return caught.value


class TestCompiled:
    def test_file_and_placement_are_the_vendors(
        self, tool: FakeTool, plain: bytes, compiled: bytes, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool.install(monkeypatch)
        tool.answers(HEAD.format(streamed="0.00B") + TABLE.format(more=""), compiled=compiled)
        file = run(plain, context)

        assert (file.payload, file.host_payload) == (compiled, plain)
        assert file.tool_versions == {"converter": "1.0", "edgetpu_compiler": "16.0.384591198"}
        assert file.edgetpu is not None
        assert (file.edgetpu.n_mapped, file.edgetpu.n_cpu, file.edgetpu.expected_mapped) == (1, 0, True)
        assert (file.edgetpu.on_chip_used_bytes, file.edgetpu.off_chip_bytes) == (2048, 0)
        assert file.notes == ("calibration_random", "parity_before_edgetpu_compiler")
        assert file.min_runtime_version == "14"

    def test_partly_mapped_network_goes_on_with_its_share(
        self,
        tool: FakeTool,
        write_tflite: WriteTflite,
        compiled: bytes,
        context: CompileContext,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        weights = {"shape": (4, 1, 1, 4), "content": bytes(16)}
        operators = [
            {"name": "CONV_2D", "inputs": [0, 1], "outputs": [2]},
            {"name": "GELU", "inputs": [2], "outputs": [3]},
            {"name": "CONV_2D", "inputs": [3, 1], "outputs": [4]},
        ]
        network = write_tflite([IMAGE, weights, IMAGE, IMAGE, IMAGE], operators, [0], [4])
        tool.install(monkeypatch)
        more = "GELU                           1          Operation not supported\n"
        tool.answers(HEAD.format(streamed="1.00KiB") + TABLE.format(more=more), compiled=compiled)
        file = run(network, context)

        assert file.edgetpu is not None
        assert (file.edgetpu.macs_share, file.edgetpu.expected_mapped) == (0.5, False)
        assert file.edgetpu.operators[1].status == "Operation not supported"
        assert {"edgetpu_partly_mapped", "edgetpu_streams_parameters"} <= set(file.notes)

    def test_dense_layer_with_a_scale_per_channel_is_noted(
        self,
        tool: FakeTool,
        write_tflite: WriteTflite,
        compiled: bytes,
        context: CompileContext,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        vector = {"shape": (1, 4)}
        weights = {"shape": (4, 4), "content": bytes(16), "n_scales": 4}
        dense = {"name": "FULLY_CONNECTED", "inputs": [0, 1], "outputs": [2], "version": 4}
        tool.install(monkeypatch)
        tool.answers(HEAD.format(streamed="0.00B"), compiled=compiled)
        file = run(write_tflite([vector, weights, vector], [dense], [0], [2]), context)

        assert "edgetpu_dense_per_channel" in file.notes

    def test_compiler_that_maps_otherwise_leaves_the_share_unknown(
        self, tool: FakeTool, plain: bytes, compiled: bytes, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool.install(monkeypatch)
        stated = "Number of operations that will run on Edge TPU: 7\nNumber of operations that will run on CPU: 0\n"
        tool.answers(HEAD.format(streamed="0.00B") + stated, compiled=compiled)
        file = run(plain, context)

        assert file.edgetpu is not None
        assert (file.edgetpu.n_mapped, file.edgetpu.macs_share) == (7, None)
        assert "edgetpu_mapped_otherwise" in file.notes

    def test_table_is_read_from_the_operation_log_where_it_is_not_printed(
        self, tool: FakeTool, plain: bytes, compiled: bytes, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool.install(monkeypatch)
        tool.answers(HEAD.format(streamed="0.00B"), compiled=compiled, log=TABLE.format(more=""))
        file = run(plain, context)

        assert file.edgetpu is not None
        assert [row.name for row in file.edgetpu.operators] == ["RELU"]

    @pytest.mark.parametrize(("help_text", "is_given"), [(" -m, --min_runtime_version", True), ("", False)])
    def test_oldest_runtime_is_given_where_the_compiler_takes_it(
        self,
        tool: FakeTool,
        plain: bytes,
        compiled: bytes,
        context: CompileContext,
        monkeypatch: pytest.MonkeyPatch,
        help_text: str,
        is_given: bool,
    ) -> None:
        tool.install(monkeypatch, help_text=help_text)
        tool.answers(HEAD.format(streamed="0.00B"), compiled=compiled)
        run(plain, context)

        assert tool.arguments[:2] == ["-s", "-o"]
        assert (tool.arguments[3:5] == ["-m", "14"]) == is_given


class TestNotCompiled:
    def test_absent_compiler_is_named_with_the_checkers_report(
        self, tool: FakeTool, plain: bytes, context: CompileContext
    ) -> None:
        error = failure(plain, context)

        assert isinstance(error, CompilerUnavailable)
        assert error.code == "compiler_unavailable"
        assert "edgetpu-compiler" in error.message
        assert (error.detail["report"]["mapped"], error.detail["report"]["n_operators"]) == (True, 1)

    def test_unmappable_network_is_refused_before_the_compiler_runs(
        self, tool: FakeTool, write_tflite: WriteTflite, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        network = write_tflite([IMAGE, IMAGE], [{"name": "GELU", "inputs": [0], "outputs": [1]}], [0], [1])
        tool.install(monkeypatch)
        error = failure(network, context)

        assert isinstance(error, CandidateRefused)
        assert error.code == "not_mappable"
        assert error.detail["report"]["operators"][0]["code"] == "operator_unsupported"
        assert not (tool.folder / "arguments").exists()

    def test_file_without_an_edge_tpu_part_is_never_shipped(
        self, tool: FakeTool, plain: bytes, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool.install(monkeypatch)
        table = "Operator Count Status\nRELU 1 Operation is otherwise supported, but not mapped\n"
        tool.answers("Number of Edge TPU subgraphs: 0\n" + table, compiled=plain)
        error = failure(plain, context)

        assert error.code == "not_mappable"
        assert error.detail["statuses"] == {"RELU": "Operation is otherwise supported, but not mapped"}

    @pytest.mark.parametrize(
        ("output", "status", "code"),
        [
            ("Edge TPU Compiler version 15.0\n\nInternal compiler error. Aborting! \n", 1, "compiler_internal_error"),
            ("Invalid model: model.tflite\nModel could not be parsed\n", 1, "compiler_failed"),
            ("Compilation failed!\n", 0, "compiler_failed"),
            ("", 139, "compiler_failed"),
        ],
    )
    def test_failure_keeps_the_compilers_last_words(
        self,
        tool: FakeTool,
        plain: bytes,
        context: CompileContext,
        monkeypatch: pytest.MonkeyPatch,
        output: str,
        status: int,
        code: str,
    ) -> None:
        tool.install(monkeypatch)
        tool.answers(output, status=status)
        error = failure(plain, context)

        assert isinstance(error, CompilerFailed)
        assert (error.code, error.detail["exit_status"]) == (code, status)
        assert "\n".join(error.detail["output"]).strip() == output.strip()

    def test_compiler_without_end_is_ended_with_its_child(
        self, tool: FakeTool, plain: bytes, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool.install(monkeypatch)
        tool.answers("Edge TPU Compiler version 16.0\n", hangs=True)
        error = failure(plain, context, timeout_s=3.0)

        assert error.code == "compiler_timeout"
        child = tool.folder / "child"
        assert not child.exists() or has_ended(int(child.read_text()))

    def test_executable_that_cannot_start_is_a_failure(
        self, tool: FakeTool, plain: bytes, context: CompileContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool.install(monkeypatch)
        (tool.folder / "bin" / "edgetpu_compiler").write_text("#!/nowhere/python\n")

        assert failure(plain, context).code == "compiler_failed"

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-dynamic", "int8-weights", "int4-weights"])
    def test_other_precisions_are_refused_with_what_to_do(self, plain: bytes, precision: str) -> None:
        compiler = EdgeTpuCompiler(plain_compiler=lambda target: PlainCompiler(plain))
        traits: Any = SimpleNamespace(precision=precision)

        reason = compiler.refuse(traits, TARGET)
        assert reason is not None
        assert "preset int8" in reason

    def test_another_format_is_refused(self, plain: bytes, context: CompileContext) -> None:
        error = failure(plain, replace(context, target=replace(TARGET, file_format="punched-cards")))
        assert isinstance(error, CandidateRefused)


class TestOpen:
    def test_plain_file_is_opened_by_the_plain_compiler(self, plain: bytes, context: CompileContext) -> None:
        compiler = EdgeTpuCompiler(plain_compiler=lambda target: PlainCompiler(plain))
        opened: Any = compiler.open(plain, threads=2)
        assert opened == (plain, 2)

    def test_compiled_file_runs_on_a_board_only(self, plain: bytes, compiled: bytes) -> None:
        compiler = EdgeTpuCompiler(plain_compiler=lambda target: PlainCompiler(plain))
        with pytest.raises(FileUnusable) as caught:
            compiler.open(compiled, threads=1)
        assert caught.value.code == "device_only"


def has_ended(pid: int) -> bool:
    """Whether the killed process is gone, or nobody's: the kernel takes a moment to end it on a busy host."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            psutil.Process(pid).wait(timeout=0.05)
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            if is_zombie(pid):
                return True
        else:
            return True
    return False


def is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
