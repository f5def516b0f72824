"""Documents of ``/v1/comparisons``."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_controller.results.schemas import Interval, ProvenanceName
from edgefleet_controller.runs.schemas import RunState

ComparisonKind = Literal["ab", "aa"]
OutcomeName = Literal["faster", "slower", "no_difference"]
ComparisonState = Literal["queued", "running", "completed", "failed", "cancelled"]
Sha256Hex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class VariantReference(BaseModel):
    """A compiled variant of a job."""

    model_config = ConfigDict(extra="forbid")
    job: str = Field(min_length=1, max_length=128, description="identifier of the job")
    variant: str = Field(min_length=1, max_length=256, description="name or identifier of the variant")


ArtifactReference = Sha256Hex | VariantReference


class ComparisonCreate(BaseModel):
    """Artifact A against B in turns on every device, or A against itself."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(default=None, min_length=1, max_length=128, description="name of the comparison")
    kind: ComparisonKind = Field(default="ab", description="ab: A against B; aa: A against itself, again and again")
    a: ArtifactReference = Field(description="sha256 of an artifact, or a job's variant")
    b: ArtifactReference | None = Field(default=None, description="the same; with kind ab only")
    devices: list[str] | None = Field(
        default=None, min_length=1, max_length=10_000, description="names or identifiers; null for all active devices"
    )
    n_pairs: int = Field(default=400, ge=12, le=100_000, description="blocks of each side in one comparison")
    n_comparisons: int | None = Field(
        default=None, ge=1, le=1000, description="aa: comparisons, with fresh processes each time; null for 20"
    )
    block_seconds: float = Field(default=0.02, gt=0, le=60, description="least length of a block, seconds")
    max_seconds: float = Field(default=60.0, gt=0, le=3600, description="longest time for one comparison, seconds")
    settings: MeasureSettings = Field(
        default_factory=MeasureSettings,
        description="threads, batch, provider, delegate, seed, warm-up and deadline of the runners",
    )

    @model_validator(mode="after")
    def _kinds_have_their_own_fields(self) -> Self:
        if (self.b is None) != (self.kind == "aa"):
            raise ValueError("b belongs to the kind ab, and is needed there")
        if self.n_comparisons is not None and self.kind == "ab":
            raise ValueError("n_comparisons belongs to the kind aa")
        return self


class ComparedArtifact(BaseModel):
    """An artifact as it was found when the comparison was submitted."""

    sha256: str = Field(description="hash of the file")
    size_bytes: int = Field(description="length of the file")
    target: str = Field(description="what it was compiled for")
    runtime: str = Field(description="runtime that runs it")
    name: str = Field(description="the variant's name where it was named by one, else the beginning of the hash")


class RatioView(BaseModel):
    """Latency of B over A."""

    ratio: float = Field(description="median over couples of blocks of the ratio of medians; below 1: B is faster")
    interval: Interval = Field(description="bootstrap interval of the ratio")
    confidence: float = Field(description="confidence of the interval")
    outcome: OutcomeName = Field(description="no_difference also where the ratio differs by less than 1 %")
    n_pairs: int = Field(description="pairs of blocks")


class FalsePositivesView(BaseModel):
    """How often the device calls one artifact different from itself."""

    n_comparisons: int = Field(description="comparisons of the artifact with itself")
    n_false_positives: int = Field(description="those that claim a difference")
    share: float = Field(description="n_false_positives / n_comparisons")
    interval: Interval = Field(description="95 % Wilson interval of the share")


class ComparisonVerdict(BaseModel):
    """How far the figures may be trusted."""

    status: Literal["valid", "suspect", "invalid", "pending"] = Field(description="pending until the run has ended")
    reasons: list[str] = Field(description="stable codes; of a failed run its error's code")


class ComparisonRow(BaseModel):
    """The comparison on one device."""

    run_id: str = Field(description="identifier of the run")
    device_id: str = Field(description="identifier of the device")
    device_name: str = Field(description="name of the device")
    state: RunState = Field(description="how far the run is")
    attempt: int = Field(description="how often it was leased")
    provenance: ProvenanceName | None = Field(description="where the figures come from; null without figures")
    comparison: RatioView | None = Field(description="of kind ab; null without figures")
    false_positives: FalsePositivesView | None = Field(description="of kind aa; null without figures")
    verdict: ComparisonVerdict = Field(description="how far to trust the figures")
    blocks_sha256: str | None = Field(description="hash of the file with the medians of all blocks")
    conditions: dict[str, Any] | None = Field(
        description="host, runtimes, settings and the board's state before and after; null in lists"
    )
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")


class ComparisonView(BaseModel):
    """A comparison with one row for each device."""

    id: str = Field(description="identifier, cmp_...")
    name: str = Field(description="name")
    kind: ComparisonKind = Field(description="ab or aa")
    state: ComparisonState = Field(description="of all its runs together; completed if any device compared")
    a: ComparedArtifact = Field(description="artifact A")
    b: ComparedArtifact | None = Field(description="artifact B; null for kind aa")
    request: dict[str, Any] = Field(description="what was asked for")
    created_at: datetime = Field(description="when it was submitted, UTC")
    results: list[ComparisonRow] = Field(description="one for each device, in order of their names")
