"""Settings of the controller, read from ``EDGEFLEET_*`` environment variables."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from edgefleet_controller.data_dir import default_data_dir

MIB = 1024 * 1024


class Settings(BaseSettings):
    """Everything that may be set; durations in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="EDGEFLEET_", frozen=True, extra="forbid")

    data_dir: Path = Field(default_factory=default_data_dir, description="database, blobs, scratch and operator token")
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL; default is SQLite at <data_dir>/edgefleet.db"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8470, ge=0, le=65535, description="port to listen on; 0 takes a free one")

    tls_cert: Path | None = Field(default=None, description="certificate of the API, PEM with its chain")
    tls_key: Path | None = Field(default=None, description="private key of that certificate, PEM")
    behind_proxy: str | None = Field(
        default=None, description="IP addresses, with commas, of the TLS proxies that alone reach the API"
    )

    lease_s: float = Field(default=60.0, gt=0, description="length of a lease")
    lease_margin_s: float = Field(default=30.0, ge=0, description="added to a silent window that an agent declares")
    heartbeat_s: float = Field(default=15.0, gt=0, description="interval of heartbeats that agents are told")
    max_attempts: int = Field(default=3, ge=1, description="leases of one run before it fails with lease_expired")
    poll_wait_s: float = Field(default=50.0, ge=0, le=50, description="longest time a claim or a ?wait= is held open")
    scan_interval_s: float = Field(default=1.0, gt=0, description="interval of the scan for work other processes wrote")
    heartbeat_flush_s: float = Field(default=2.0, gt=0, description="interval at which extended leases are stored")
    aftermath_s: float = Field(
        default=0.25, ge=0, description="interval at which many ended runs at once reach their jobs; 0: each at once"
    )
    quarantine_after: int = Field(
        default=3, ge=0, description="failed runs in a row after which a board is quarantined; 0: never"
    )
    max_held_claims: int = Field(
        default=20_000, ge=0, description="claims held open; further ones are told to come back later (Retry-After)"
    )
    presence_flush_s: float = Field(default=5.0, gt=0, description="interval at which last-seen times are stored")
    presence_timeout_s: float = Field(default=90.0, gt=0, description="silence after which a device counts as offline")
    join_token_ttl_s: float = Field(default=3600.0, gt=0, description="life of a join token")
    signing_key_file: Path | None = Field(
        default=None,
        description="key that orders are signed with; default is <data_dir>/signing.key. API hosts share it",
    )
    require_device_key: bool = Field(
        default=False,
        description="refuse agents that are too old to have a key and to check orders, also those enrolled before",
    )
    credential_life_s: float = Field(
        default=30 * 86400.0, gt=0, description="age at which a device is asked to renew its credential"
    )
    credential_overlap_s: float = Field(
        default=86400.0, gt=0, description="how long the credential before a renewal is still accepted"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="format of log lines: text for people, json for programs (agents too)"
    )
    log_access: bool = Field(default=False, description="whether every request leaves a log line")
    session_s: float = Field(default=12 * 3600.0, gt=0, description="life of a browser's session")
    requests_per_s: float = Field(
        default=100.0, gt=0, description="requests per second of one credential in the long run"
    )
    requests_burst: float = Field(default=2000.0, ge=1, description="requests of one credential at once")
    failures_per_min: float = Field(
        default=20.0, ge=1, description="refused sign-ins and enrolments per minute of one address or user name"
    )
    restart_queued_after_s: float = Field(
        default=15.0, gt=0, description="age at which a queued job is handed to the engine again"
    )

    max_json_bytes: int = Field(default=1 * MIB, ge=1024, description="longest JSON request")
    max_report_bytes: int = Field(default=8 * MIB, ge=1024, description="longest report of a run")
    max_blob_bytes: int = Field(default=2048 * MIB, ge=1024, description="largest file an operator may upload")
    max_sample_bytes: int = Field(default=64 * MIB, ge=1024, description="largest file a device may upload")

    blob_url: str | None = Field(
        default=None, description="where files are stored, such as s3://bucket/prefix; default: <data_dir>/blobs"
    )
    blob_cache_bytes: int = Field(
        default=20 * 1024 * MIB, ge=0, description="local copies of files that are stored elsewhere"
    )
    gc_interval_s: float = Field(default=6 * 3600.0, gt=0, description="interval at which unused files are collected")
    gc_grace_s: float = Field(
        default=24 * 3600.0, ge=600, description="time since its last use after which an unused file is collected"
    )
    quota_bytes: int | None = Field(
        default=None, ge=1, description="size of the store at which people's uploads are refused; default: none"
    )
    quota_reserve_bytes: int = Field(
        default=1024 * MIB, ge=0, description="room beyond the quota for what boards measured"
    )
    sample_retention_days: float | None = Field(
        default=None, gt=0, description="age at which raw samples are removed, their figures stay; default: never"
    )

    step_timeout_s: float = Field(default=7200.0, gt=0, description="longest compress or compile step")
    step_memory_bytes: int | None = Field(
        default=None,
        ge=64 * MIB,
        description="memory of a step and its children; default: four fifths of the host's, or of the container's",
    )
    step_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="threads of a step; default is the host's cores. Workers that share caches need the same number",
    )
    step_executor: Literal["subprocess", "ray"] = Field(
        default="subprocess", description="where steps run: on the worker's host, or on a Ray cluster (extra ray)"
    )
    ray_address: str | None = Field(
        default=None, description="the Ray cluster, such as auto or ray://head:10001; default: one on the worker's host"
    )
    queue_poll_s: float = Field(
        default=0.2,
        gt=0,
        description="interval at which workers look for tasks; the same for all, the newest start wins",
    )
    worker_heartbeat_s: float = Field(default=10.0, gt=0, description="interval of a worker's heartbeat and watchdog")
    worker_timeout_s: float = Field(
        default=60.0, gt=0, description="silence after which a worker counts as dead and others get its work"
    )
    engine_retention_days: float = Field(
        default=14.0, gt=0, description="age at which the engine's records of ended tasks are deleted"
    )

    run_analyses: bool = Field(default=True, description="whether this process carries out analyses of models")
    inspect_timeout_s: float = Field(default=60.0, gt=0, description="wall-clock limit of a model's inspection")
    inspect_cpu_s: int = Field(default=60, ge=1, description="CPU limit of a model's inspection")
    inspect_memory_bytes: int = Field(default=8192 * MIB, ge=256 * MIB, description="address space of an inspection")

    @property
    def resolved_database_url(self) -> str:
        """The URL of the store."""
        return self.database_url or f"sqlite:///{self.data_dir / 'edgefleet.db'}"

    @property
    def resolved_engine_url(self) -> str:
        """The URL of the engine's tables: a file of their own on SQLite, a schema beside ours on PostgreSQL."""
        if self.database_url is not None and not self.database_url.startswith("sqlite"):
            return self.database_url
        return f"sqlite:///{self.data_dir / 'engine.db'}"

    @property
    def blob_dir(self) -> Path:
        """Root of the content-addressed store."""
        return self.data_dir / "blobs"

    @property
    def work_dir(self) -> Path:
        """Scratch space of steps and uploads."""
        return self.data_dir / "work"

    @property
    def proxies(self) -> tuple[str, ...]:
        """Addresses whose X-Forwarded-For and X-Forwarded-Proto are believed."""
        return tuple(part.strip() for part in (self.behind_proxy or "").split(",") if part.strip())

    @property
    def resolved_signing_key_file(self) -> Path:
        """The key that orders are signed with."""
        return self.signing_key_file or self.data_dir / "signing.key"

    @property
    def operator_token_file(self) -> Path:
        """The operator's bearer token, readable by its owner only."""
        return self.data_dir / "operator.token"
