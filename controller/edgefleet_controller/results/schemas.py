"""Documents of ``/v1/results`` and ``/v1/front``."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from edgefleet_controller.jobs.sweep import settings_label
from edgefleet_controller.pagination import PageRequest
from edgefleet_controller.results.checks import Checks
from edgefleet_controller.results.metrics import MetricFields

Interval = tuple[float, float]
ProvenanceName = Literal["measured", "simulated", "replayed", "emulated", "imported"]


class LatencyRow(BaseModel):
    """Latency of one inference in ms, recomputed by the controller from the raw samples."""

    p50: float | None = Field(description="median, ms")
    p90: float | None = Field(description="90th percentile, ms; null with too few samples")
    p99: float | None = Field(description="99th percentile, ms; null with too few samples")
    n: int = Field(description="timed inferences")
    throughput_per_s: float | None = Field(description="samples (inferences x batch) per second, as the agent counted")
    intervals: dict[str, Interval] = Field(description="percentile -> distribution-free interval (low, high), ms")
    confidence: float = Field(description="confidence of these intervals")
    launch_intervals: dict[str, Interval] = Field(
        description="p50 -> 95 % bootstrap interval over launches and samples, ms; empty with one launch"
    )
    reasons: dict[str, str] = Field(description="percentile -> why it is null")


class EnergyRow(BaseModel):
    """Gross energy per inference; without a sensor null with a reason, never an estimate."""

    value_mj: float | None = Field(description="gross energy per inference, mJ")
    expanded_uncertainty_mj: float | None = Field(default=None, description="95 % half width of value_mj, mJ")
    scope: str | None = Field(description="what the sensor sees, such as board_5v_input")
    reason: str | None = Field(description="why value_mj is null")


class VerdictRow(BaseModel):
    """How far the figures may be trusted."""

    status: Literal["valid", "suspect", "invalid", "pending"] = Field(description="pending until the run has ended")
    reasons: list[str] = Field(description="stable codes; of a failed run its error's code")


class AcrossTargets(BaseModel):
    """A row beside the reference of the whole job: the recipe without passes for the job's first target."""

    reference: str = Field(
        description="name of the reference variant, measured on the same device with the same settings"
    )
    reference_target: str = Field(description="its target")
    size_ratio: float | None = Field(description="bytes of the reference's file / bytes of this one")
    retention: float | None = Field(description="accuracy_device / that of the reference")
    speedup_p50: float | None = Field(description="p50 of the reference / p50 of this one")


class VariantRow(Checks, MetricFields):
    """One variant on one device with one of the job's settings. A failed one keeps its row, with null figures."""

    name: str = Field(description="name of the variant")
    recipe: str = Field(description="name of the recipe")
    recipe_sha256: str = Field(description="hash of what the recipe does")
    target: str = Field(description="target")
    variant_id: str = Field(description="identifier of the variant")
    variant_state: str = Field(description="how far the variant is")
    device_id: str | None = Field(description="identifier of the device; null while the variant was not dispatched")
    device_name: str | None = Field(description="name of the device")
    run_id: str | None = Field(description="identifier of the run")
    run_state: str | None = Field(description="how far the run is")
    settings_ordinal: int | None = Field(description="which of the job's settings it was measured with, from 0")
    settings: dict[str, Any] = Field(description="the settings in which the job's runs differ; empty without a sweep")
    batch: int | None = Field(description="samples per inference that were asked for")
    attempt: int | None = Field(description="how often the run was leased")
    provenance: ProvenanceName | None = Field(description="where the figures come from; null without figures")
    artifact_sha256: str | None = Field(description="hash of the file that ships")
    size_bytes: int | None = Field(description="bytes of the file that ships")
    reference: str | None = Field(
        description="name of the baseline that size_ratio, retention and speedup_p50 refer to: the recipe without passes for "
        "the same target on the same device; null where the job has none"
    )
    across_targets: AcrossTargets | None = Field(
        description="the same ratios to the baseline of the job's first target; null where the job has none"
    )
    size_ratio: float | None = Field(description="bytes of the baseline's file / bytes of this one")
    samples_sha256: str | None = Field(description="hash of the raw latency samples' file")
    notes: list[str] = Field(description="what a person should know of the file, such as calibration_random")
    compression_cached: bool | None = Field(description="whether an earlier compression was reused")
    accuracy_device: float | None = Field(description="accuracy on the device, share in [0, 1]")
    accuracy_host: float | None = Field(description="accuracy of the same file on the controller's host")
    accuracy_metric: str | None = Field(description="name of the metric")
    accuracy_n: int | None = Field(description="samples of the evaluation set that were scored on the device")
    accuracy_interval: Interval | None = Field(description="95 % Wilson score interval of accuracy_device")
    accuracy_reason: str | None = Field(description="why accuracy_device is null")
    retention: float | None = Field(description="accuracy_device / that of the baseline on the same device")
    latency_ms: LatencyRow | None = Field(description="latency; null without figures")
    speedup_p50: float | None = Field(description="p50 of the baseline on the same device / p50 of this one")
    peak_memory_bytes: int | None = Field(description="high-water mark of the runner process")
    energy: EnergyRow = Field(description="energy per inference")
    verdict: VerdictRow = Field(description="how far to trust the figures")
    on_front: bool = Field(
        description="whether no other measured row of the device with the same batch beats it in p50 and accuracy"
    )
    error: dict[str, Any] | None = Field(description="code, message and detail of the failure")

    @property
    def label(self) -> str:
        """The name, in a sweep with its settings."""
        swept = settings_label(self.settings)
        return f"{self.name} ({swept})" if swept else self.name


class ResultsRequest(PageRequest):
    """Which results are wanted."""

    job: str = Field(description="identifier of the job")


class ResultsPage(BaseModel):
    """Rows in the order of the job's variants."""

    items: list[VariantRow] = Field(description="one row for each variant, device and settings")
    next_cursor: str | None = Field(description="pass as `cursor` for the next page; null on the last")
    partial: bool = Field(description="whether the job has not ended yet, or was stopped before all was measured")


class FrontRequest(BaseModel):
    """Two figures of one job."""

    job: str = Field(description="identifier of the job")
    x: str = Field(default="latency_p50_ms", description="figure of the x axis")
    y: str = Field(default="accuracy", description="figure of the y axis")
    device: str | None = Field(default=None, description="only this device (identifier or name)")
    provenance: list[ProvenanceName] = Field(
        default=["measured"], description="figures of this provenance only; simulated ones if asked for"
    )
    confidence: float | None = Field(
        default=None,
        gt=0.5,
        lt=1,
        description="a point leaves the front only where another dominates it with this probability, intervals "
        "considered; without it estimates alone are compared",
    )
    constraint: list[Annotated[str, Field(max_length=128)]] = Field(
        default=[],
        max_length=32,
        description="what rows have to keep, such as latency_p90_ms<=20 or accuracy>=0.9; by their estimates",
    )


class Axis(BaseModel):
    """A figure."""

    name: str = Field(description="name, which ends in the unit")
    direction: Literal["minimise", "maximise"] = Field(description="what is wanted of it")
    label: str = Field(description="for a plot's axis, with the unit")


class FrontPoint(BaseModel):
    """A row with both figures."""

    name: str = Field(description="name of the variant, in a sweep with its settings")
    variant_id: str = Field(description="identifier of the variant")
    device_id: str | None = Field(description="identifier of the device")
    device_name: str | None = Field(description="name of the device")
    run_id: str | None = Field(description="identifier of the run")
    x: float = Field(description="figure of the x axis")
    y: float = Field(description="figure of the y axis")
    verdict: str = Field(description="valid or suspect")
    on_front: bool = Field(description="whether no other point beats it in both, with the front's confidence")


class LeftOut(BaseModel):
    """A row that has no point."""

    name: str = Field(description="name of the variant")
    device_name: str | None = Field(description="name of the device")
    reason: str = Field(description="why it has no point")


class Front(BaseModel):
    """The points of two figures; the front is those with on_front."""

    job: str = Field(description="identifier of the job")
    x: Axis = Field(description="x axis")
    y: Axis = Field(description="y axis")
    provenance: ProvenanceName | None = Field(description="provenance of all points; null without points")
    confidence: float | None = Field(
        description="probability that a point off the front is dominated; null: estimates alone"
    )
    points: list[FrontPoint] = Field(description="in ascending order of x")
    left_out: list[LeftOut] = Field(description="rows without a point, and why")
