"""Messages of ``/agent/v1``. Durations, never absolute times: a board's wall clock may say 1970."""

from typing import Literal, Optional

from pydantic import Field, model_validator

from edgefleet_agent.wire.base import PROTOCOL_VERSION, JsonObject, Wire
from edgefleet_agent.wire.comparison import ComparisonPlan, RunKind
from edgefleet_agent.wire.report import BlobRef, RunReport
from edgefleet_agent.wire.signing import HEX_32, HEX_64, HEX_128, PublicKey, Signed


class RuntimeFacts(Wire):
    """A runtime found on the board."""

    name: str = Field(description="onnxruntime, litert, tflite-runtime, edgetpu or tensorrt")
    version: str = Field(description="version as the runtime states it")
    interpreter: str = Field(description="path of the Python interpreter that holds it")
    python_version: str = Field(description="version of that interpreter")
    providers: list[str] = Field(default_factory=list, description="execution providers or delegates")
    driver: Optional[str] = Field(
        default=None, description="program that runs artifacts where the interpreter lacks the module, such as trtexec"
    )


class DeviceFacts(Wire):
    """What a board is and can do."""

    agent_version: str = Field(description="version of the agent")
    board: str = Field(description="board kind, such as raspberry-pi-4 or linux-host")
    hostname: str = Field(description="host name")
    machine: str = Field(description="architecture, such as x86_64 or aarch64")
    system: str = Field(description="operating system and kernel")
    cpu_model: str = Field(description="CPU model as the kernel names it")
    n_cores: int = Field(ge=1, description="logical cores")
    memory_bytes: int = Field(ge=0, description="total memory")
    runtimes: list[RuntimeFacts] = Field(default_factory=list, description="runtimes found by probing")
    sensors: list[JsonObject] = Field(default_factory=list, description="power sensors found")
    labels: dict[str, str] = Field(default_factory=dict, description="labels set on the board")


DeviceKind = Literal["physical", "simulated", "emulated", "replay"]
"""What a device is; it decides the provenance of its figures."""


class EnrolRequest(Wire):
    """A board introduces itself with a one-time join token."""

    protocol: int = Field(default=PROTOCOL_VERSION, description="protocol version the agent speaks")
    join_token: str = Field(description="one-time token, ejt_...")
    name: Optional[str] = Field(default=None, description="wanted name; the token may already be bound to one")
    device_kind: Optional[DeviceKind] = Field(
        default=None, description="what the agent is; null: physical, or what the token's device was registered as"
    )
    serial: Optional[str] = Field(
        default=None, max_length=128, description="serial number of the board, where it has one"
    )
    public_key: Optional[str] = Field(
        default=None,
        pattern=HEX_64,
        description="ed25519 key made on the device, hexadecimal; its secret never leaves it",
    )
    key_proof: Optional[str] = Field(
        default=None, pattern=HEX_128, description="signature with that key over wire.signing.enrol_proof, hexadecimal"
    )
    facts: DeviceFacts


class EnrolResponse(Wire):
    """The board's identity from now on."""

    device_id: str = Field(description="identifier of the device")
    name: str = Field(description="name of the device")
    credential: str = Field(description="bearer credential, edt_..., shown once")
    heartbeat_s: float = Field(description="seconds between heartbeats of a run")
    poll_wait_s: float = Field(description="how long a claim may wait")
    pending: bool = Field(default=False, description="a person has to accept the device before it gets runs")
    signing_keys: list[PublicKey] = Field(
        default_factory=list,
        description="keys that orders are signed with; the device trusts these and their successors",
    )


class RotateRequest(Wire):
    """Asks for a new credential in place of the one that the request carries."""

    proof: str = Field(
        pattern=HEX_128, description="signature with the device's key over wire.signing.rotate_proof, hexadecimal"
    )


class RotateResponse(Wire):
    """The new credential; the old one is accepted for a while."""

    credential: str = Field(description="bearer credential, edt_..., shown once")
    overlap_s: float = Field(description="seconds for which the old one is accepted")


class SigningKeys(Wire):
    """The keys that orders are signed with, and how each was announced by the one before."""

    keys: list[PublicKey] = Field(description="keys in use, newest last")
    successions: list[Signed] = Field(description="KeySuccession documents, oldest first")


class ClaimRequest(Wire):
    """Asks for work; held open by the controller for up to ``wait_s``."""

    protocol: int = Field(default=PROTOCOL_VERSION, description="protocol version the agent speaks")
    wait_s: float = Field(default=50.0, ge=0, le=50, description="longest wait in seconds")
    facts_sha256: str = Field(description="hash of the facts the agent would report now")
    facts: Optional[DeviceFacts] = Field(
        default=None, description="sent when the controller asked for them or they changed"
    )
    nonce: Optional[str] = Field(
        default=None, pattern=HEX_32, description="random number that the order's signature has to answer, hexadecimal"
    )
    draining: bool = Field(default=False, description="the agent finishes and takes no more work")
    boot: Optional[str] = Field(
        default=None,
        pattern="^[0-9a-zA-Z_-]{8,64}$",
        description="names this start of the agent; a run that an earlier start held is given up (protocol 2)",
    )
    claim: Optional[int] = Field(
        default=None,
        ge=0,
        lt=2**31,
        description="number of the claim within this start; one sent again keeps its number",
    )


class MeasureSettings(Wire):
    """How to measure; every field is recorded with the result."""

    threads: int = Field(default=1, ge=1, le=256, description="intra-operator threads")
    batch: int = Field(default=1, ge=1, le=4096, description="samples per inference")
    provider: Optional[str] = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="onnxruntime: execution provider, such as CPUExecutionProvider; null for the CPU",
    )
    delegate: Optional[str] = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="TFLite runtimes: delegate, such as xnnpack; null for the runtime's own choice",
    )
    seconds: float = Field(default=6.0, gt=0, le=3600, description="least length of the timed part in seconds")
    min_samples: int = Field(
        default=700, ge=1, le=10_000_000, description="least number of timed inferences (p99 needs 662)"
    )
    max_seconds: float = Field(
        default=60.0, gt=0, le=7200, description="end of the timed part even without min_samples"
    )
    warmup_seconds: float = Field(default=1.0, ge=0, le=600, description="least length of the warm-up in seconds")
    warmup_iterations: int = Field(default=10, ge=0, le=1_000_000, description="least number of warm-up inferences")
    evaluation_limit: Optional[int] = Field(
        default=None,
        ge=1,
        description="evaluate at most this many samples, drawn by the seed with every class in its share",
    )
    deadline_s: float = Field(default=600.0, gt=0, le=86_400, description="the run fails after this many seconds")
    seed: int = Field(default=0, ge=0, description="seed of random inputs where none are given and of random arrivals")
    launches: int = Field(
        default=1, ge=1, le=100, description="process launches; each loads, warms up and times for its own ``seconds``"
    )
    mode: Literal["back_to_back", "duty_cycle", "open_loop"] = Field(
        default="back_to_back",
        description="back_to_back: the next inference starts when the last one ends; duty_cycle: rate_per_s inferences "
        "per second with pauses between them; open_loop: requests arrive whether or not the last one is done",
    )
    rate_per_s: Optional[float] = Field(
        default=None, gt=0, le=1e6, description="inferences per second in the modes duty_cycle and open_loop"
    )
    arrivals: Literal["poisson", "fixed"] = Field(
        default="poisson", description="open_loop: exponential gaps from the seed, or equal ones"
    )
    cool_down_c: Optional[float] = Field(
        default=None, ge=0, le=120, description="wait before each launch until the hottest zone is this cool, degrees C"
    )
    cool_down_timeout_s: float = Field(
        default=120.0, ge=0, le=3600, description="measure anyway after waiting this long in all, with not_cooled_down"
    )

    min_accelerator_share: Optional[float] = Field(
        default=None,
        ge=0,
        le=1,
        description="a run with a smaller share on the accelerator, or an unknown one, is invalid: placement_too_low",
    )

    @model_validator(mode="after")
    def _a_paced_mode_has_a_rate(self) -> "MeasureSettings":
        if (self.rate_per_s is None) != (self.mode == "back_to_back"):
            raise ValueError("rate_per_s belongs to the modes duty_cycle and open_loop, and is needed there")
        return self


class SecondArtifact(Wire):
    """Artifact B of an A/B run."""

    runtime: str = Field(description="runtime to use for it, such as onnxruntime")
    artifact: BlobRef
    artifact_name: str = Field(description="file name with the extension the runtime expects")
    manifest: JsonObject = Field(default_factory=dict, description="its manifest (edgefleet_deploy.manifest)")
    golden: Optional[BlobRef] = Field(default=None, description="its golden inputs and outputs, npz")


class RunOrder(Wire):
    """One artifact to measure once, or to compare with a second or with itself; every write about it carries ``(run_id, attempt)``."""

    run_id: str = Field(description="identifier of the run")
    attempt: int = Field(ge=1, description="fencing number; a write with an older one gets 409")
    lease_s: float = Field(gt=0, description="length of the lease in seconds from receipt")
    runtime: str = Field(description="runtime to use, such as onnxruntime")
    artifact: BlobRef
    artifact_name: str = Field(description="file name with the extension the runtime expects, such as model.onnx")
    manifest: JsonObject = Field(
        default_factory=dict, description="the artifact's manifest (edgefleet_deploy.manifest)"
    )
    evaluation: Optional[BlobRef] = Field(default=None, description="evaluation set, npz: x or input names, y")
    golden: Optional[BlobRef] = Field(
        default=None, description="golden inputs and outputs, npz (edgefleet_deploy.golden); checked before the warm-up"
    )
    settings: MeasureSettings = Field(default_factory=MeasureSettings)
    kind: RunKind = Field(default="measure", description="measure, ab or aa")
    second: Optional[SecondArtifact] = Field(default=None, description="artifact B, with kind ab only")
    comparison: Optional[ComparisonPlan] = Field(default=None, description="with the kinds ab and aa only")

    @model_validator(mode="after")
    def _only_a_comparison_has_a_plan(self) -> "RunOrder":
        if (self.second is not None) != (self.kind == "ab"):
            raise ValueError("a second artifact belongs to the kind ab, and is needed there")
        if (self.comparison is not None) != (self.kind != "measure"):
            raise ValueError("a comparison's plan belongs to the kinds ab and aa, and is needed there")
        return self


class ClaimResponse(Wire):
    """200 with an order, or with a request for facts; 204 means nothing to do."""

    order: Optional[RunOrder] = None
    send_facts: bool = Field(default=False, description="the controller does not know these facts yet")
    signature: Optional[Signed] = Field(default=None, description="OrderStatement about the order, signed")
    rotate_credential: bool = Field(default=False, description="the credential is old: ask for a new one")


class HeartbeatRequest(Wire):
    """Extends the lease. Sent between timed windows, never inside one."""

    run_id: str = Field(description="identifier of the run")
    attempt: int = Field(ge=1, description="the attempt that the lease is of; an older one gets 409")
    phase: str = Field(description="fetch, wait, cool_down, load, golden, warmup, measure, evaluate, upload, ...")
    silent_for_s: float = Field(default=0, ge=0, le=7200, description="length of the silent window that starts now")


class HeartbeatResponse(Wire):
    """What the controller wants of the run now."""

    cancel: bool = Field(description="stop the run and report it as cancelled")
    lease_s: float = Field(description="seconds the lease runs from now")


class UploadProgress(Wire):
    """How far an upload in parts is; its next part begins at ``received_bytes``."""

    sha256: str = Field(description="SHA-256 of the whole file, lower-case hex")
    received_bytes: int = Field(ge=0, description="bytes that have arrived, 0 for a new upload")
    is_stored: bool = Field(default=False, description="the whole file is there already, and nothing need be sent")


class ReportRequest(Wire):
    """The end of a run. Sent again until accepted; the second time changes nothing."""

    run_id: str = Field(description="identifier of the run")
    attempt: int = Field(ge=1, description="the attempt that the lease is of; an older one gets 409")
    report: RunReport


class ReportResponse(Wire):
    """Accepted; ``duplicate`` when this very report was stored before."""

    accepted: bool = Field(description="always true; a report that is not accepted is answered with a problem")
    duplicate: bool = Field(default=False, description="whether this very report was stored before")
