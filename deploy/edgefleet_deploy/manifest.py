"""The manifest that travels with every artifact. Importing this module loads neither torch nor onnx."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.precision import Precision
from edgefleet_deploy.errors import ArtifactMismatch

MANIFEST_VERSION: Literal[1] = 1
Sha256 = str
_CHUNK_BYTES = 1 << 20


class TensorSpec(BaseModel):
    """One input or output of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(description="Name a runner feeds or fetches.")
    shape: tuple[int | str, ...] = Field(description="Dimensions; N stands for the batch where it is free.")
    dtype: str = Field(description="Element type as numpy names it, such as float32.")
    scale: float | None = Field(
        default=None, gt=0, description="Integers that stand for real numbers: real = scale * (integer - zero_point)."
    )
    zero_point: int | None = Field(default=None, description="Integer that stands for 0; null without a scale.")
    layout: Literal["NHWC"] | None = Field(
        default=None,
        description="NHWC: images of the data set, which are NCHW, are transposed; null: taken as they are.",
    )

    @property
    def real_dtype(self) -> str:
        """Type of the numbers that are fed before a runner turns them into scaled integers, as numpy names it."""
        return self.dtype if self.scale is None else "float32"


class OutputParity(BaseModel):
    """How far one output of the artifact is from the reference's, over all samples compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    name: str = Field(description="Name of the output.")
    output_range: float = Field(ge=0, description="Largest minus smallest reference value, in the output's own unit.")
    max_abs_diff: float = Field(ge=0, description="Largest absolute difference, in the output's own unit.")
    max_diff_ratio: float = Field(ge=0, description="max_abs_diff over output_range.")
    max_diff_steps: float = Field(ge=0, description="max_abs_diff in 1/255 of output_range: steps of an 8-bit output.")
    snr_db: float | None = Field(description="Reference power over difference power in dB; null when they are equal.")
    top1_agreement: float | None = Field(
        description="Share of samples with the same largest entry; null unless (n, k)."
    )
    top1_agreement_clear: float | None = Field(
        description="The same over samples whose two largest reference entries are more than four steps apart."
    )
    n_clear: int = Field(ge=0, description="Number of such samples.")


class ParityTolerance(BaseModel):
    """What every output had to keep; null bounds were not applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_diff_ratio: float | None = Field(description="Bound of max_diff_ratio.")
    max_diff_steps: float | None = Field(description="Bound of max_diff_steps.")
    min_snr_db: float | None = Field(description="Bound of snr_db, dB.")
    min_top1_agreement_clear: float | None = Field(description="Bound of top1_agreement_clear.")


class ParityReport(BaseModel):
    """The artifact's outputs, run under its runtime on the host, against those of what it was compiled from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reference: str = Field(description="What the artifact was compared with, such as torch or the original ONNX file.")
    samples: Literal["validation", "train", "random"] = Field(description="Where the samples come from.")
    n_samples: int = Field(ge=0, description="Number of samples compared; 0 where nothing here can run the file.")
    outputs: tuple[OutputParity, ...] = Field(description="Figures per output.")
    tolerance: ParityTolerance = Field(description="The bounds that held.")
    not_run_reason: str | None = Field(default=None, description="Why nothing was compared; null where it was.")

    @model_validator(mode="after")
    def _compared_or_says_why(self) -> Self:
        if (self.n_samples == 0) != (self.not_run_reason is not None):
            raise PydanticCustomError("parity_unexplained", "A comparison has samples, or a reason why it has none.")
        return self


class GoldenRecord(BaseModel):
    """The golden outputs that travel with the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    sha256: Sha256 = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of golden.npz.")
    size_bytes: int = Field(gt=0, description="Size of golden.npz, bytes.")
    n_samples: int = Field(ge=1, description="Number of golden samples.")
    source: Literal["validation", "train", "random"] = Field(description="Where the samples come from.")
    tolerance_db: float = Field(ge=0, description="How far a device's SNR may be below the host's, dB.")
    host_snr_db: dict[str, float | None] = Field(
        description="Output -> SNR of this file on the host against the float network, dB; null when they are equal."
    )


class OperatorCost(BaseModel):
    """What one operator of the file costs in one inference, whatever it runs on."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dense", "depthwise", "conv3x3", "elementwise"] = Field(
        description="dense: pointwise or fully connected; conv3x3: other full convolutions; elementwise: no products."
    )
    macs: int = Field(ge=0, description="Multiply-accumulate operations.")
    weight_bytes: int = Field(ge=0, description="Constants as stored in the file, bytes.")
    activation_elements: int = Field(ge=0, description="Elements of all inputs and outputs that are not constants.")


class ShapeRange(BaseModel):
    """Shapes of one input between which a runtime may be asked to build; the batch is the first dimension."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    min: tuple[int, ...] = Field(description="Smallest shape.")
    opt: tuple[int, ...] = Field(description="Shape the kernels are chosen for.")
    max: tuple[int, ...] = Field(description="Largest shape.")

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        ranks = {len(self.min), len(self.opt), len(self.max)}
        if len(ranks) != 1 or any(
            not 1 <= low <= middle <= high for low, middle, high in zip(self.min, self.opt, self.max, strict=False)
        ):
            raise PydanticCustomError("shapes_unordered", "Shapes need one rank and 1 <= min <= opt <= max.")
        return self


class BuildPlan(BaseModel):
    """How the device builds its own engine from the file that ships: engines are not portable between GPUs."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    runtime: Literal["tensorrt"] = Field(description="Runtime that builds.")
    flags: tuple[Literal["fp16", "int8"], ...] = Field(
        description="Builder flags to set; always empty when strongly typed, where the file's own types decide."
    )
    workspace_bytes: int = Field(gt=0, description="Upper bound of the builder's scratch memory, bytes.")
    shapes: dict[str, ShapeRange] = Field(min_length=1, description="Shapes per input: one optimization profile.")
    strongly_typed: bool = Field(description="Build a strongly typed network; the only kind since TensorRT 11.")
    min_version: str = Field(description="Oldest TensorRT the file is for.")
    max_version: str | None = Field(description="First TensorRT that must not build it; null means none is known.")
    timing_cache: Literal["per_gpu_and_version"] = Field(
        default="per_gpu_and_version",
        description="Kernel timings may be reused for the same GPU and the same TensorRT version only.",
    )

    @model_validator(mode="after")
    def _flags_fit(self) -> Self:
        if self.strongly_typed and self.flags:
            raise PydanticCustomError("flags_not_allowed", "A strongly typed network takes no precision flags.")
        return self


class GraphSummary(BaseModel):
    """What the compiler did to the graph."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    operators_before: dict[str, int] = Field(description="Operators by type, as exported or as the person gave them.")
    operators_after: dict[str, int] = Field(description="Operators by type, in the file that ships.")
    operators_loaded: dict[str, int] = Field(
        default_factory=dict,
        description="Operators by type that the compiling host's runtime runs after its own fusions; empty: not known.",
    )
    fused: dict[str, int] = Field(
        description="How often each pattern was folded, such as batch_norm_folded; *_at_load: by the host's runtime."
    )
    layout: Literal["NCHW", "NHWC", "none"] = Field(description="Order of an image's dimensions; none without images.")


class EdgeTpuOperatorStatus(BaseModel):
    """One line of the Edge TPU compiler's table: operators of one type that had one fate."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(description="Type of the operators, such as CONV_2D.")
    n_operators: int = Field(ge=1, description="How many of them.")
    status: str = Field(description="The compiler's own words.")
    mapped: bool = Field(description="Whether they run on the Edge TPU.")


class EdgeTpuPlacement(BaseModel):
    """What the Edge TPU compiler made of the network, read from its output; null is what it did not say."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    compiler_version: str | None = Field(description="Version of edgetpu_compiler.")
    n_mapped: int | None = Field(ge=0, description="Operators that run on the Edge TPU.")
    n_cpu: int | None = Field(ge=0, description="Operators that stay on the CPU.")
    n_subgraphs: int | None = Field(ge=0, description="Parts that run on the Edge TPU.")
    on_chip_used_bytes: int | None = Field(ge=0, description="Parameters cached on the chip, bytes.")
    on_chip_remaining_bytes: int | None = Field(ge=0, description="Room left for parameters on the chip, bytes.")
    off_chip_bytes: int | None = Field(ge=0, description="Parameters streamed at every inference, bytes.")
    operators: tuple[EdgeTpuOperatorStatus, ...] = Field(description="The compiler's table.")
    macs_share: float | None = Field(
        ge=0,
        le=1,
        description="Share of the multiply-accumulates on the Edge TPU, by the checker; null where the compiler mapped "
        "another number of operators.",
    )
    expected_mapped: bool = Field(description="Whether the checker expected every operator to be mapped.")


class ArtifactManifest(BaseModel):
    """What an artifact is, what made it, and how it was checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = Field(default=MANIFEST_VERSION, description="Version of this document.")
    sha256: Sha256 = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the file, lower-case hexadecimal.")
    size_bytes: int = Field(gt=0, description="Size of the file that ships, bytes.")
    file_name: str = Field(description="File name with the extension a runner expects.")
    format: str = Field(description="File format, such as onnx.")
    target: str = Field(description="Target it was compiled for.")
    runtime: str = Field(description="Runtime that loads it.")
    min_runtime_version: str | None = Field(description="Oldest version of the runtime known to load it.")
    precision: Precision = Field(description="Number format of the weights and activations.")
    opset: int = Field(ge=0, description="Version of the standard ONNX operators; 0 for other formats.")
    ir_version: int = Field(ge=0, description="Version of the ONNX file format; 0 for other formats.")
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, description="Inputs in order.")
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, description="Outputs in order.")
    recipe_sha256: Sha256 = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the recipe.")
    candidate_sha256: Sha256 = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the candidate file.")
    tool_versions: dict[str, str] = Field(description="Versions of what compiled it.")
    parity: ParityReport = Field(description="Comparison with what it was compiled from.")
    float_snr_db: float | None = Field(
        default=None,
        description="int8 file of an ONNX model: signal-to-noise ratio against the float model on the same samples, dB.",
    )
    operators: tuple[OperatorCost, ...] | None = Field(
        default=None, description="Operators in order, at batch 1 unless the batch is fixed; null where not countable."
    )
    build_plan: BuildPlan | None = Field(
        default=None, description="How the device builds its engine; null where the file is loaded as it is."
    )
    graph: GraphSummary | None = Field(default=None, description="Operators, fusions and layout; null where not known.")
    edgetpu: EdgeTpuPlacement | None = Field(
        default=None, description="What runs on the Edge TPU; null for other targets."
    )
    golden: GoldenRecord | None = Field(
        default=None, description="Golden outputs of this file; null where no typical sample was at hand."
    )
    notes: tuple[str, ...] = Field(default=(), description="Stable codes of what a person should know.")

    def canonical_json(self) -> bytes:
        """Return the manifest as UTF-8 JSON with sorted keys and no spaces: equal manifests give equal bytes."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(document: Any) -> bytes:
    """Return UTF-8 JSON with sorted keys, no spaces and no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in lower-case hexadecimal, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def verify_file(manifest: ArtifactManifest, path: Path) -> None:
    """Raise ArtifactMismatch unless the file has the size and the sha256 of the manifest."""
    size_bytes = path.stat().st_size
    found = file_sha256(path)
    if (size_bytes, found) != (manifest.size_bytes, manifest.sha256):
        raise ArtifactMismatch(
            f"{path.name} has {size_bytes} bytes and sha256 {found}, its manifest states {manifest.size_bytes} bytes and "
            f"{manifest.sha256}: fetch the artifact again",
            detail={"size_bytes": size_bytes, "sha256": found, "expected_sha256": manifest.sha256},
        )
