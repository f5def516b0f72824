"""What every compiler is: one Protocol, and the values that go in and come out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from edgefleet_compression.precision import Precision
from edgefleet_deploy.errors import TargetInvalid
from edgefleet_deploy.golden import GoldenPair
from edgefleet_deploy.manifest import BuildPlan, EdgeTpuPlacement, GraphSummary, OperatorCost, ParityReport, TensorSpec
from edgefleet_deploy.targets import Target

if TYPE_CHECKING:  # these load torch
    from edgefleet_compression.candidate import Candidate, Traits
    from edgefleet_compression.data.dataset import DataSet

Array = NDArray[Any]
Progress = Callable[[float, str], None]


def no_progress(fraction: float, message: str) -> None:
    """Drop progress: for library use."""


@dataclass(frozen=True)
class CompileContext:
    """What a compiler may use besides the candidate. The data set is None where the job has none.

    work_dir: an existing, empty directory for temporary files; the caller removes it.
    """

    target: Target
    work_dir: Path
    data: "DataSet | None"
    seed: int
    threads: int
    progress: Progress = no_progress


@dataclass(frozen=True)
class CompiledFile:
    """The file's bytes with everything the manifest states about them.

    golden: typical inputs with the float network's outputs; None only where every sample at hand is all zero.
    host_payload: what this host runs in place of a payload that only the device can run: the same network, as it was
    before the vendor's compiler; parity, golden outputs and host accuracy are its own.
    """

    payload: bytes
    precision: Precision
    opset: int
    ir_version: int
    min_runtime_version: str | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: ParityReport
    tool_versions: dict[str, str]
    float_snr_db: float | None = None
    operators: tuple[OperatorCost, ...] | None = None
    build_plan: BuildPlan | None = None
    graph: GraphSummary | None = None
    notes: tuple[str, ...] = field(default=())
    golden: GoldenPair | None = None
    edgetpu: EdgeTpuPlacement | None = None
    host_payload: bytes | None = None


class Compiler(Protocol):
    """Turns candidates into files of one format."""

    runtime: str
    """The runtime whose targets it serves."""

    def refuse(self, traits: "Traits", target: Target) -> str | None:
        """Return why no candidate of these traits can be compiled for the target, or None; costs nothing."""

    def compile(self, candidate: "Candidate", context: CompileContext) -> CompiledFile:
        """Return the file, compared with the candidate; raises DeployError, ParityFailed among them."""

    def open(self, payload: bytes, *, threads: int) -> "LoadedFile":
        """Return the file, loaded under its runtime on this host."""


class LoadedFile(Protocol):
    """An artifact under its runtime on this host."""

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return output name -> (n, ...) for input name -> (n, ...)."""


def compiler_for(target: Target) -> Compiler:
    """Return the compiler of a target's runtime; TargetInvalid ``no_compiler`` where there is none."""
    if target.runtime == "onnxruntime":
        from edgefleet_deploy.onnx import OnnxCompiler  # loads torch and onnxruntime

        return OnnxCompiler()
    if target.runtime in ("litert", "tflite-runtime"):
        from edgefleet_deploy.litert import LitertCompiler  # loads torch; the converter only when it compiles

        return LitertCompiler(target.runtime)
    if target.runtime == "edgetpu":
        from edgefleet_deploy.edgetpu import EdgeTpuCompiler  # imports this module

        return EdgeTpuCompiler()
    if target.runtime == "tensorrt":
        from edgefleet_deploy.tensorrt import TensorRtCompiler  # loads torch and onnxruntime

        return TensorRtCompiler()
    if target.runtime == "coreml":
        from edgefleet_deploy.coreml import CoreMlCompiler  # loads torch; coremltools only when it compiles

        return CoreMlCompiler()
    raise TargetInvalid(f"no compiler writes files for runtime {target.runtime!r}", code="no_compiler")
