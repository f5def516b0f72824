"""The report of one run: what was measured, under which conditions, and how far to trust it.

Units stand in the names: ``_ms`` milliseconds, ``_bytes`` bytes, ``_mj`` millijoules, ``_w`` watts, ``_ns`` nanoseconds
of CLOCK_MONOTONIC. An absent figure is ``None`` with a reason, never zero.
"""

from typing import Literal, Optional

from pydantic import Field, model_validator

from edgefleet_agent.wire.base import REPORT_VERSION, JsonObject, Wire
from edgefleet_agent.wire.comparison import ComparisonFigures, FalsePositives
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, Reason, VerdictStatus

Interval = tuple[float, float]


class BlobRef(Wire):
    """A content-addressed file."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file's bytes, lower-case hex")
    size_bytes: int = Field(ge=0, description="length of the file in bytes")


class CodedError(Wire):
    """What went wrong, where, and what to do next."""

    code: ErrorCode = Field(description="stable code")
    message: str = Field(description="what was wrong and what to do next, for a person")
    detail: JsonObject = Field(default_factory=dict, description="facts for a program, such as the runner's last words")


class LatencySummary(Wire):
    """Percentiles of the timed inferences, batch 1 unless the settings say otherwise.

    Intervals are distribution-free (order statistics); a percentile without enough samples is null and ``reasons``
    says so.
    """

    n: int = Field(ge=0, description="timed inferences; warm-up is not among them")
    p50: Optional[float] = Field(description="median latency in ms")
    p90: Optional[float] = Field(description="90th percentile in ms")
    p99: Optional[float] = Field(description="99th percentile in ms")
    mean: Optional[float] = Field(description="arithmetic mean in ms")
    minimum: Optional[float] = Field(description="smallest latency in ms")
    maximum: Optional[float] = Field(description="largest latency in ms")
    confidence: float = Field(default=0.99, description="confidence of the intervals")
    intervals: dict[str, Interval] = Field(default_factory=dict, description="percentile name -> (low, high) in ms")
    reasons: dict[str, Reason] = Field(default_factory=dict, description="percentile name -> why it is null")
    n_outliers: int = Field(default=0, ge=0, description="samples beyond the third quartile + 3 interquartile ranges")
    outlier_causes: dict[str, int] = Field(
        default_factory=dict,
        description="cause -> outliers in a segment where it was seen: throttle, migration, major_fault, "
        "involuntary_switch, else unexplained; an outlier may have several",
    )
    throughput_per_s: Optional[float] = Field(
        default=None, description="samples (inferences x batch) per second of the timed part"
    )
    n_launches: int = Field(default=1, ge=1, description="process launches the samples come from")
    launch_p50_ms: list[float] = Field(default_factory=list, description="median of each launch in ms, in order")
    launch_intervals: dict[str, Interval] = Field(
        default_factory=dict,
        description="p50 and mean -> 95 % hierarchical bootstrap interval over launches and samples in ms, of the mean "
        "over launches; empty with one launch",
    )


class LoadTimes(Wire):
    """Phases before the timed part."""

    load_ms: Optional[float] = Field(
        description="cold load: creating the runtime's session or interpreter from the file for the first time in a fresh "
        "process, ms; caches says what was warm"
    )
    first_inference_ms: Optional[float] = Field(description="the first inference after loading, ms")
    n_warmup: int = Field(default=0, ge=0, description="inferences discarded as warm-up")
    warmup_ms: Optional[float] = Field(default=None, description="length of the warm-up, ms")
    import_ms: Optional[float] = Field(default=None, description="importing the runtime's module, ms")
    warm_load_ms: Optional[float] = Field(
        default=None, description="loading the same file again in the same process after the first was released, ms"
    )
    build_ms: Optional[float] = Field(
        default=None,
        ge=0,
        description="building the runtime's engine from the artifact on this device, ms, before the run and in no other "
        "figure; null where the runtime builds none or the engine came from the cache",
    )
    engine_cached: Optional[bool] = Field(
        default=None, description="whether the engine came from the device's cache; null where the runtime builds none"
    )
    caches: JsonObject = Field(
        default_factory=dict,
        description="artifact_cached_share: share of the artifact in the page cache at the cold load (null: unknown); "
        "library: the runtime's own files are always warm or unknown",
    )


class MemorySummary(Wire):
    """Memory of the runner process by phase; peaks are VmHWM after writing 5 to /proc/self/clear_refs."""

    after_import_bytes: Optional[int] = Field(description="resident size after importing the runtime")
    after_load_bytes: Optional[int] = Field(description="resident size after loading the artifact")
    peak_load_bytes: Optional[int] = Field(description="high-water mark while loading")
    peak_run_bytes: Optional[int] = Field(description="high-water mark while running")
    peak_memory_bytes: Optional[int] = Field(description="the larger of both peaks")
    pss_bytes: Optional[int] = Field(default=None, description="proportional set size at the end, where readable")
    reason: Optional[Reason] = Field(default=None, description="why peaks are null")


class AccuracySummary(Wire):
    """Quality of the shipped artifact on the evaluation set, computed on the device."""

    metric: str = Field(default="top1", description="name of the metric")
    value: Optional[float] = Field(description="share in [0, 1]")
    n: int = Field(default=0, ge=0, description="evaluated samples")
    n_available: Optional[int] = Field(default=None, ge=0, description="samples in the evaluation set")
    sampling: Optional[Literal["all", "stratified", "random"]] = Field(
        default=None, description="how the evaluated ones were chosen; drawn by the settings' seed where not all"
    )
    n_correct: Optional[int] = Field(default=None, description="correct samples, for exact tests")
    interval: Optional[Interval] = Field(default=None, description="95 % Wilson score interval")
    reason: Optional[Reason] = Field(default=None, description="why the value is null")


class GoldenOutput(Wire):
    """One output on the golden samples, compared with the float network's."""

    name: str = Field(description="name of the output")
    snr_db: Optional[float] = Field(
        description="power of the float network's output over that of the difference, dB; null when they are equal, or "
        "when n_non_finite is not 0"
    )
    host_snr_db: Optional[float] = Field(description="the same on the compiling host; null when they are equal")
    required_snr_db: float = Field(description="least snr_db that passes")
    max_abs_error: Optional[float] = Field(
        description="largest difference in the output's own unit; null when n_non_finite is not 0"
    )
    n_non_finite: int = Field(default=0, ge=0, description="values that are NaN or infinite")
    n_clear: int = Field(default=0, ge=0, description="samples whose class the float network is sure of")
    n_clear_wrong: int = Field(default=0, ge=0, description="those of them that the device answers otherwise")


class GoldenSummary(Wire):
    """The check of the artifact's golden outputs on the device, before anything was timed."""

    passed: bool = Field(description="whether the runtime computes what the artifact is")
    n_samples: int = Field(ge=0, description="golden samples")
    outputs: list[GoldenOutput] = Field(default_factory=list, description="figures for each output")


class OperatorTime(Wire):
    """Time of one node of the graph, or of all nodes of one kind."""

    name: str = Field(description="name of the node, or kind of operator")
    operator: str = Field(description="kind of operator, such as Conv")
    provider: str = Field(description="execution provider that ran it")
    n_nodes: int = Field(ge=1, description="nodes of the graph counted here")
    time_us: float = Field(ge=0, description="mean time per inference in microseconds, under the profiler")
    share: float = Field(ge=0, le=1, description="of the time of all operators")
    precision: Optional[str] = Field(
        default=None, description="number format of a node's output, such as FP16 or INT8, where the runtime tells it"
    )
    tactic: Optional[str] = Field(default=None, description="kernel that ran a node, where the runtime tells it")


class PlacementSummary(Wire):
    """Which provider or delegate ran what, from a pass of its own that feeds no latency."""

    shares: dict[str, float] = Field(
        default_factory=dict, description="provider or delegate -> its share in [0, 1]; empty where unknown"
    )
    n_operators: dict[str, int] = Field(default_factory=dict, description="provider or delegate -> operators it ran")
    basis: Optional[Literal["time", "operators", "macs"]] = Field(
        default=None, description="what the shares are of; null where unknown"
    )
    accelerator_share: Optional[float] = Field(
        default=None, ge=0, le=1, description="share of everything that is not the CPU; null where unknown"
    )
    operators: list[OperatorTime] = Field(
        default_factory=list, description="kinds of operators, the longest first; empty without a profile"
    )
    reason: Optional[str] = Field(default=None, description="why the placement is unknown")


class EnergySummary(Wire):
    """Energy per inference; gross unless named ``net``. Without a sensor the value is null and the reason says so."""

    value_mj: Optional[float] = Field(description="gross energy per inference in mJ")
    net_mj: Optional[float] = Field(default=None, description="energy above idle per inference in mJ; may be negative")
    expanded_uncertainty_mj: Optional[float] = Field(
        default=None, description="expanded uncertainty (k = 2 or t) of value_mj"
    )
    mean_power_w: Optional[float] = Field(default=None, description="mean power in the window")
    idle_power_w: Optional[float] = Field(default=None, description="mean power of the idle windows before and after")
    scope: Optional[str] = Field(default=None, description="what the sensor sees, such as board_5v_input")
    sensor: Optional[JsonObject] = Field(default=None, description="chip, address, shunt, calibration and settings")
    reason: Optional[Reason] = Field(default=None, description="why value_mj is null")
    detail: JsonObject = Field(default_factory=dict, description="windows, repeats and the uncertainty budget")


class Conditions(Wire):
    """The state of the board at one moment."""

    governors: list[str] = Field(default_factory=list, description="distinct cpufreq governors")
    frequencies_khz: list[int] = Field(default_factory=list, description="current frequency per policy")
    temperatures_c: dict[str, float] = Field(default_factory=dict, description="thermal zone -> degrees Celsius")
    load_average_1m: Optional[float] = Field(default=None, description="1-minute load average")
    available_memory_bytes: Optional[int] = Field(default=None, description="MemAvailable")
    throttled_bits: Optional[int] = Field(default=None, description="Raspberry Pi get_throttled bits")
    cpu_steal_s: Optional[float] = Field(
        default=None, description="seconds stolen by the hypervisor since boot, all cores"
    )
    cpu_busy_s: Optional[float] = Field(default=None, description="busy seconds since boot, all cores")
    pressure_s: dict[str, float] = Field(
        default_factory=dict, description="cpu, memory, io -> seconds since boot in which some task waited for it (PSI)"
    )
    under_voltage_alarm: Optional[bool] = Field(
        default=None, description="the firmware's under-voltage alarm (hwmon rpi_volt)"
    )
    cooling: dict[str, int] = Field(
        default_factory=dict, description="cooling device -> its state, such as a fan's step"
    )
    power_mode: Optional[str] = Field(default=None, description="power mode of the board (nvpmodel on Jetson)")
    monotonic_ns: int = Field(description="CLOCK_MONOTONIC when this was read")


class Environment(Wire):
    """The conditions that belong to the figures."""

    host: JsonObject = Field(description="CPU model, cores, kernel, operating system, virtualisation")
    before: Conditions = Field(description="just before the timed part")
    after: Conditions = Field(description="just after it")
    runtime: JsonObject = Field(description="runtime name, version, interpreter, execution providers")
    settings: JsonObject = Field(description="threads, batch and all measurement settings used")
    affinity: list[int] = Field(default_factory=list, description="cores the runner was allowed to use")
    counters: JsonObject = Field(
        default_factory=dict,
        description="the runner's own counters over the timed part: cpu_s, core_wait_s, major_faults, "
        "involuntary_switches, voluntary_switches, migrations, n_threads",
    )
    cool_down: Optional[JsonObject] = Field(
        default=None, description="target_c, reached_c and waited_s of the cool-down before the run, where asked for"
    )


class Verdict(Wire):
    """How far the figures may be trusted, with the reasons."""

    status: VerdictStatus = Field(description="valid, suspect or invalid")
    reasons: list[Reason] = Field(default_factory=list, description="stable codes, empty when valid")


class RunReport(Wire):
    """What the agent says about one run of one artifact. A failed run has an error and null figures."""

    report_version: int = Field(default=REPORT_VERSION, description="version of this document")
    agent_version: str = Field(description="version of the agent that wrote it")
    provenance: Provenance = Field(description="where the figures come from")
    artifact: BlobRef = Field(description="the measured file")
    error: Optional[CodedError] = Field(default=None, description="why the run could not be measured")
    load: Optional[LoadTimes] = Field(default=None, description="phases before the timed part")
    latency_ms: Optional[LatencySummary] = Field(default=None, description="latency of the timed inferences")
    memory: Optional[MemorySummary] = Field(default=None, description="memory by phase")
    accuracy: Optional[AccuracySummary] = Field(default=None, description="quality on the device")
    energy: Optional[EnergySummary] = Field(default=None, description="energy per inference")
    golden: Optional[GoldenSummary] = Field(
        default=None, description="check of the golden outputs; null where the artifact has none"
    )
    placement: Optional[PlacementSummary] = Field(default=None, description="which provider or delegate ran what")
    environment: Optional[Environment] = Field(default=None, description="conditions")
    second: Optional[BlobRef] = Field(default=None, description="artifact B of an A/B run")
    comparison: Optional[ComparisonFigures] = Field(default=None, description="what an A/B run found")
    false_positives: Optional[FalsePositives] = Field(default=None, description="what an A/A run found")
    verdict: Verdict = Field(description="how far to trust it")
    samples: dict[str, BlobRef] = Field(
        default_factory=dict, description="raw samples by name (latency, predictions), see wire.samples"
    )

    @model_validator(mode="after")
    def _a_measured_run_has_figures_and_a_failed_one_a_reason(self) -> "RunReport":
        if self.error is None and self.latency_ms is None and not self.is_comparison:
            raise ValueError("a report without an error needs latency_ms, comparison or false_positives")
        if self.is_comparison and (self.latency_ms is not None or self.error is not None):
            raise ValueError("a comparison has no latency figures of its own, and a failed run no comparison")
        if self.error is not None and self.verdict.status is not VerdictStatus.INVALID:
            raise ValueError("a failed run is invalid")
        return self

    @property
    def is_comparison(self) -> bool:
        """Whether it reports an A/B or A/A run."""
        return self.comparison is not None or self.false_positives is not None
