"""A controller with made-up boards, jobs and runs: what the pages' tests and the pictures of the documentation show.

The figures are drawn from a seed and come from no board. Reports pass through the same models as those of agents.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session
from tests.integration.controller.conftest import Fleet, _serving, device_facts

from edgefleet_agent.statistics import summarize_latency, wilson_interval
from edgefleet_agent.wire.report import BlobRef, RunReport
from edgefleet_agent.wire.samples import encode_samples
from edgefleet_controller.app import create_app
from edgefleet_controller.blobs import repository as blob_rows
from edgefleet_controller.clock import FakeClock
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.db.tables import (
    Artifact,
    Comparison,
    ComparisonResult,
    Device,
    Job,
    JobEvent,
    Regression,
    Result,
    Run,
    Variant,
)
from edgefleet_controller.engine.in_memory import InMemoryEngine
from edgefleet_controller.runs.records import result_of
from edgefleet_controller.settings import Settings

JsonObject = dict[str, Any]
HOSTILE = "<img src=x onerror=alert(1)>"
NEVER_S = 3600.0
N_SAMPLES, N_WARMUP = 900, 60
START_NS = 5_000_000_000_000

RECIPES = ("baseline", "int8", "prune50", "prune50-int8", "distill-int8", "joint")
SHAPES: Mapping[str, tuple[float, int, float]] = {
    "baseline": (18.4, 3_110_000, 0.981),
    "int8": (7.9, 812_000, 0.978),
    "prune50": (9.6, 1_020_000, 0.974),
    "prune50-int8": (4.3, 281_000, 0.969),
    "distill-int8": (4.1, 266_000, 0.962),
    "joint": (4.2, 283_000, 0.976),
}
"""Recipe -> latency in ms on the first board, bytes, accuracy."""


@dataclass(frozen=True)
class Board:
    """A made-up board. speed: latency relative to the first one. sensor: what its power sensor sees."""

    name: str
    board: str
    kind: str = "physical"
    speed: float = 1.0
    power_w: float = 4.0
    sensor: str | None = None
    throttled_bits: int | None = None
    celsius: float = 52.0
    facts: JsonObject = field(default_factory=dict)


BOARDS = (
    Board("kitchen-pi", "raspberry-pi-4", sensor="board_5v_input", throttled_bits=0, power_w=4.6, celsius=58.4),
    Board(
        "lab-pi5", "raspberry-pi-5", speed=0.42, sensor="pmic_rails", throttled_bits=0x50000, power_w=6.1, celsius=71.2
    ),
    Board("nano-1", "jetson-nano", speed=0.61, celsius=47.5),
    Board("sim-pi-1", "raspberry-pi-4", kind="simulated", speed=1.1),
)


@dataclass(frozen=True)
class Seeded:
    """The controller, and the names of what is in it."""

    fleet: Fleet
    job_id: str
    live_job_id: str
    model_id: str
    run_id: str
    failed_run_id: str
    devices: Mapping[str, str]
    hostile_device_id: str
    comparison_id: str


class MadeUpInspector:
    """Takes every file for the same small residual network."""

    def inspect(self, path: Path) -> JsonObject:
        return {
            "format": "onnx",
            "inputs": [{"name": "x", "shape": [None, 1, 16, 16], "dtype": "float32"}],
            "outputs": [{"name": "y", "shape": [None, 10], "dtype": "float32"}],
            "n_parameters": 777_290,
            "opset": 13,
            "operators": ["Conv", "Gemm", "Relu"],
        }


@contextmanager
def serving(folder: Path, *, database_url: str | None = None) -> Iterator[Fleet]:
    """A controller on loopback whose clock stands at the present moment; without an address of a database, on SQLite."""
    folder.mkdir(parents=True, exist_ok=True)
    upgrade_to_head(database_url or f"sqlite:///{folder / 'edgefleet.db'}")
    intervals = dict.fromkeys(
        ("scan_interval_s", "presence_flush_s", "restart_queued_after_s", "heartbeat_flush_s"), NEVER_S
    )
    clock = FakeClock(datetime.now(UTC))
    settings = Settings(
        data_dir=folder,
        database_url=database_url,
        aftermath_s=0,
        run_analyses=False,
        **intervals,  # type: ignore[arg-type]
    )
    app = create_app(settings, engine=InMemoryEngine(), clock=clock, inspector=MadeUpInspector())
    with _serving(app) as url:
        fleet = Fleet(url, app.state.services, clock)
        fleet.app = app
        try:
            yield fleet
        finally:
            fleet.close()


def seed(fleet: Fleet) -> Seeded:
    """Fill an empty controller."""
    devices = {board.name: _add_board(fleet, board) for board in BOARDS}
    _more_boards(fleet)
    model = fleet.post(
        "/v1/models",
        {
            "name": "digits-resnet",
            "blob_sha256": fleet.upload(b"model digits"),
            "data": {"kind": "packaged", "name": "digits"},
        },
    )
    job = _job(fleet, model["id"], "digits on three boards", devices)
    live = _job(fleet, model["id"], "joint training, running", devices)
    with fleet.services.database.writing() as session:
        hostile = _hostile_device(session, fleet)
        writer = _Writer(fleet, session)
        runs = writer.finish_job(job["id"], [(board, devices[board.name]) for board in BOARDS])
        failed = writer.fail_run(job["id"], devices["nano-1"])
        writer.remeasure(job["id"], devices["kitchen-pi"])
        writer.train(live["id"])
        compared = writer.compare(job["id"], devices["kitchen-pi"])
    fleet.services.desk.load()
    return Seeded(
        fleet, job["id"], live["id"], model["id"], runs["joint", "kitchen-pi"], failed, devices, hostile, compared
    )


def _add_board(fleet: Fleet, board: Board) -> str:
    created = fleet.post("/v1/devices", {"name": board.name, "board": board.board, "kind": board.kind})
    facts = device_facts() | {
        "board": board.board,
        "hostname": board.name,
        "machine": "aarch64",
        "system": "Linux 6.12.25+rpt-rpi-v8",
        "cpu_model": "Cortex-A72",
        "n_cores": 4,
        "memory_bytes": 4_000_000_000,
        "labels": {"room": "lab"},
        "sensors": [{"chip": "ina226", "scope": board.sensor, "address": "0x40"}] if board.sensor else [],
    }
    body = {"join_token": created["join_token"], "facts": facts}
    answer = fleet.anonymous.post("/agent/v1/enrol", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["device_id"])


def _more_boards(fleet: Fleet) -> None:
    token = fleet.post("/v1/join-tokens", {"auto_accept": False})["join_token"]
    body = {
        "join_token": token,
        "name": "new-coral",
        "facts": device_facts() | {"board": "coral-dev-board", "hostname": "c"},
    }
    assert fleet.anonymous.post("/agent/v1/enrol", json=body).status_code == 200
    _add_board(fleet, Board("bench-pi", "raspberry-pi-4"))
    fleet.post("/v1/devices/bench-pi/hold", {"reason": "being re-cabled"})
    fleet.post("/v1/devices", {"name": "shelf-pi", "board": "raspberry-pi-5"})


def _hostile_device(session: Session, fleet: Fleet) -> str:
    """A board whose name and labels hold markup: the API refuses such names, an older store may have one."""
    device = Device(
        id=new_id("dev"),
        name=HOSTILE,
        board=HOSTILE,
        kind="physical",
        state="registered",
        labels={HOSTILE: HOSTILE},
        created_at=fleet.clock.now(),
    )
    session.add(device)
    session.flush()
    return device.id


def _job(fleet: Fleet, model_id: str, name: str, devices: Mapping[str, str]) -> JsonObject:
    physical = [board.name for board in BOARDS]
    return fleet.post("/v1/jobs", {"model": model_id, "recipes": list(RECIPES), "devices": physical, "name": name})


class _Writer:
    """Writes rows as the workflow and the agents would."""

    def __init__(self, fleet: Fleet, session: Session) -> None:
        self._fleet, self._session, self._now = fleet, session, fleet.clock.now()
        self._rng = np.random.default_rng(7)

    def finish_job(self, job_id: str, boards: Sequence[tuple[Board, str]]) -> dict[tuple[str, str], str]:
        """Every variant on every board but the first of the Jetson, which failed; returns the runs."""
        runs = {}
        for variant in self._variants(job_id):
            artifact = self._artifact(variant)
            variant.state, variant.artifact_key, variant.compression_cached = "completed", artifact.key_sha256, False
            for board, device_id in boards:
                if (variant.name, board.name) == ("distill-int8", "nano-1"):
                    continue  # it fails, see fail_run
                runs[variant.name, board.name] = self.measure(variant, artifact, board, device_id, self._now)
        job = self._session.get_one(Job, job_id)
        job.state, job.progress, job.message = "completed", 1.0, "completed"
        job.started_at, job.finished_at = self._now - timedelta(minutes=21), self._now - timedelta(minutes=2)
        self._event(job_id, "completed", "6 of 6 variants measured")
        return runs

    def _variants(self, job_id: str) -> list[Variant]:
        return sorted(self._session.query(Variant).filter_by(job_id=job_id), key=lambda variant: variant.ordinal)

    def _artifact(self, variant: Variant) -> Artifact:
        _, size_bytes, accuracy = SHAPES[variant.name]
        blob = self._store(f"artifact of {variant.name}".encode())
        row = Artifact(
            key_sha256=blob.sha256,
            key={},
            sha256=blob.sha256,
            size_bytes=size_bytes,
            target=variant.target,
            manifest={"precision": "int8" if "int8" in variant.name else "fp32", "notes": []},
            accuracy_host={"metric": "top1", "value": accuracy + 0.002},
            created_at=self._now,
        )
        self._session.merge(row)
        self._session.flush()
        return row

    def _store(self, data: bytes) -> BlobRef:
        ref = self._fleet.services.blobs.put_stream([data])
        blob_rows.record_blob(self._session, ref, self._now)
        return ref

    def _run(self, variant: Variant, artifact: Artifact, device_id: str, at: datetime, job_id: str) -> Run:
        order = {
            "runtime": "onnxruntime",
            "artifact_name": "model.onnx",
            "artifact": {"sha256": artifact.sha256, "size_bytes": artifact.size_bytes},
            "settings": {"threads": 4, "batch": 1, "seconds": 6.0},
            "kind": "measure",
        }
        run = Run(
            id=new_id("run"),
            job_id=job_id,
            variant_id=variant.id,
            device_id=device_id,
            artifact_sha256=artifact.sha256,
            state="completed",
            attempt=1,
            order=order,
            created_at=at - timedelta(minutes=3),
            started_at=at - timedelta(minutes=1),
            finished_at=at,
        )
        self._session.add(run)
        self._session.flush()
        return run

    def measure(self, variant: Variant, artifact: Artifact, board: Board, device_id: str, at: datetime) -> str:
        """A run with its report and raw samples."""
        run = self._run(variant, artifact, device_id, at, variant.job_id)
        p50_ms = SHAPES[variant.name][0] * board.speed
        self._report(run, board, p50_ms, SHAPES[variant.name][2], at)
        return run.id

    def _report(self, run: Run, board: Board, p50_ms: float, accuracy: float, at: datetime) -> None:
        latency_ns = (p50_ms * 1e6 * (1 + 0.02 * self._rng.gamma(2.0, 1.0, N_SAMPLES))).astype(np.int64)
        latency_ns[self._rng.integers(0, N_SAMPLES, 6)] *= 2
        warm_ns = (p50_ms * 1e6 * (1.02 + 0.8 * np.exp(-np.arange(N_WARMUP) / 9))).astype(np.int64)
        timed = self._store(_series(latency_ns, START_NS + int(warm_ns.sum()), steady_state="flat"))
        samples = {"latency": timed, "warmup": self._store(_series(warm_ns, START_NS))}
        energy: JsonObject = {"value_mj": None, "reason": "no_sensor"}
        if board.sensor:
            power, energy = self._power(board, int(warm_ns.sum()), latency_ns)
            samples["power"] = self._store(power)
        document = make_report(run, board, latency_ns, accuracy, energy)
        document["samples"] = {name: ref.model_dump() for name, ref in samples.items()}
        report = RunReport.model_validate(document)
        figures = summarize_latency(latency_ns)
        row = Result(**result_of(self._session, run, report, "0" * 64, figures, report.model_dump(mode="json")))
        row.created_at = at
        self._session.add(row)
        self._session.flush()

    def _power(self, board: Board, warm_ns: int, latency_ns: Any) -> tuple[bytes, JsonObject]:
        period_ns, idle_ns, work_ns = 20_000_000, 3_000_000_000, int(latency_ns.sum())
        begin, end = START_NS - idle_ns, START_NS + warm_ns + work_ns + idle_ns
        t_ns = np.arange(begin, end, period_ns)
        is_busy = (t_ns > START_NS) & (t_ns < end - idle_ns)
        power_w = np.where(is_busy, board.power_w, board.power_w * 0.55) + self._rng.normal(0, 0.06, len(t_ns))
        columns = {"t_ns": t_ns.tolist(), "power_uw": (power_w * 1e6).astype(int).tolist(), "flags": [0] * len(t_ns)}
        spans = {"idle_before_ns": [[int(begin), START_NS]], "idle_after_ns": [[int(end - idle_ns), int(end)]]}
        blob = encode_samples(
            columns, clock="CLOCK_MONOTONIC", period_s=0.02, chip="ina226", scope=board.sensor, **spans
        )
        value_mj = board.power_w * float(latency_ns.mean()) * 1e-6
        energy: JsonObject = {
            "value_mj": value_mj,
            "net_mj": 0.45 * value_mj,
            "expanded_uncertainty_mj": 0.012 * value_mj,
            "mean_power_w": board.power_w,
            "idle_power_w": 0.55 * board.power_w,
            "scope": board.sensor,
            "sensor": {"chip": "ina226", "address": "0x40", "shunt_ohm": 0.1},
        }
        return blob, energy

    def fail_run(self, job_id: str, device_id: str) -> str:
        """A run whose runner died, with a message that holds markup."""
        variant = next(one for one in self._variants(job_id) if one.name == "distill-int8")
        artifact = self._session.query(Artifact).filter_by(key_sha256=variant.artifact_key).one()
        run = self._run(variant, artifact, device_id, self._now, job_id)
        run.state = "failed"
        run.error = {"code": "runner_crashed", "message": f"The runtime died: {HOSTILE}", "detail": {"signal": 11}}
        self._session.flush()
        return run.id

    def remeasure(self, job_id: str, device_id: str) -> None:
        """The winner again and again over four weeks, slower by 8 % from the twelfth time on."""
        source = self._session.get_one(Job, job_id)
        variant = next(one for one in self._variants(job_id) if one.name == "joint")
        artifact = self._session.query(Artifact).filter_by(key_sha256=variant.artifact_key).one()
        for ordinal in range(1, 18):
            at = self._now - timedelta(days=28 - 1.5 * ordinal)
            p50_ms = SHAPES["joint"][0] * (1.08 if ordinal >= 12 else 1.0) * (1 + 0.004 * self._rng.normal())
            copy = self._remeasured(source, variant, at, ordinal)
            run = self._run(copy, artifact, device_id, at, copy.job_id)
            self._report(run, BOARDS[0], p50_ms, SHAPES["joint"][2], at)
            if ordinal == 12:
                self._change(run, artifact.sha256, device_id)

    def compare(self, job_id: str, device_id: str) -> str:
        """Two variants measured in turns on a board."""
        a, b = (self._compared(job_id, name) for name in ("baseline", "int8"))
        comparison = Comparison(
            id=new_id("cmp"),
            name="baseline with int8",
            kind="ab",
            a_sha256=a["sha256"],
            b_sha256=b["sha256"],
            request={"n_pairs": 400, "artifact_a": a, "artifact_b": b},
            created_at=self._now,
        )
        self._session.add(comparison)
        self._session.flush()
        run = Run(
            id=new_id("run"),
            kind="ab",
            comparison_id=comparison.id,
            device_id=device_id,
            state="completed",
            attempt=1,
            order={"kind": "ab", "runtime": "onnxruntime"},
            created_at=self._now,
            finished_at=self._now,
        )
        self._session.add(run)
        self._session.flush()
        report: JsonObject = {
            "provenance": "measured",
            "verdict": {"status": "suspect", "reasons": ["host_busy"]},
            "environment": {"host": {"cpu_model": "Cortex-A72"}, "before": {"governors": ["performance"]}},
        }
        result = Result(
            run_id=run.id,
            attempt=1,
            report=report,
            report_sha256="0" * 64,
            provenance="measured",
            verdict="suspect",
            energy_reason="not_measured",
            created_at=self._now,
        )
        self._session.add(result)
        self._session.flush()
        figures = {"ratio": 0.43, "ratio_low": 0.421, "ratio_high": 0.436, "confidence": 0.99, "n_pairs": 400}
        row = ComparisonResult(run_id=run.id, comparison_id=comparison.id, kind="ab", outcome="faster", **figures)
        self._session.add(row)
        self._session.flush()
        return comparison.id

    def _compared(self, job_id: str, name: str) -> JsonObject:
        variant = next(one for one in self._variants(job_id) if one.name == name)
        artifact = self._session.get_one(Artifact, variant.artifact_key)
        facts = {"sha256": artifact.sha256, "size_bytes": artifact.size_bytes, "target": artifact.target}
        return facts | {"runtime": "onnxruntime", "name": name}

    def _change(self, run: Run, artifact_sha256: str, device_id: str) -> None:
        before = SHAPES["joint"][0]
        row = Regression(
            id=new_id("reg"),
            device_id=device_id,
            artifact_sha256=artifact_sha256,
            run_id=run.id,
            changed_run_id=run.id,
            figure="latency_p50_ms",
            direction="worse",
            ratio=1.08,
            before=before,
            after=1.08 * before,
            n_before=11,
            n_after=6,
            p_value=0.0003,
            created_at=run.finished_at,
        )
        self._session.add(row)
        self._session.flush()

    def _remeasured(self, source: Job, variant: Variant, at: datetime, ordinal: int) -> Variant:
        job = Job(
            id=new_id("job"),
            name=f"nightly {ordinal}",
            model_id=source.model_id,
            state="completed",
            request=source.request,
            progress=1.0,
            message="completed",
            remeasure_of=source.id,
            created_at=at,
            finished_at=at,
        )
        copy = Variant(
            id=new_id("var"),
            job_id=job.id,
            ordinal=0,
            name=variant.name,
            recipe=variant.recipe,
            recipe_sha256=variant.recipe_sha256,
            target=variant.target,
            state="completed",
            artifact_key=variant.artifact_key,
        )
        self._session.add(job)
        self._session.flush()
        self._session.add(copy)
        self._session.flush()
        return copy

    def train(self, job_id: str) -> None:
        """A job in the middle of a training."""
        job = self._session.get_one(Job, job_id)
        job.state, job.progress, job.started_at = "running", 0.35, self._now - timedelta(minutes=4)
        job.message = "joint: compress 60 % step 600 of 1000"
        variants = self._variants(job_id)
        variants[0].state, variants[1].state, variants[-1].state = "completed", "compiling", "compressing"
        self._event(job_id, "started", "the job runs")
        for epoch in range(1, 13):
            figures = {
                "train_loss": 1.9 * 0.78**epoch + 0.05,
                "validation_loss": 1.95 * 0.8**epoch + 0.09,
                "validation_accuracy": 0.98 - 0.6 * 0.7**epoch,
                "sparsity": min(0.5, 0.06 * epoch),
                "threshold": 0.002 * epoch,
            }
            detail = {"step": "compress", "fraction": epoch / 20, "figures": figures}
            self._event(job_id, "training", f"joint: step {epoch * 50} of 1000", variants[-1].id, detail)
        self._session.flush()

    def _event(
        self, job_id: str, kind: str, message: str, variant_id: str | None = None, detail: JsonObject | None = None
    ) -> None:
        entry = JobEvent(job_id=job_id, kind=kind, message=message, variant_id=variant_id, detail=detail or {})
        entry.created_at = self._now
        self._session.add(entry)


def _series(latency_ns: Any, begin_ns: int, **header: object) -> bytes:
    start_ns = begin_ns + np.concatenate([[0], np.cumsum(latency_ns)[:-1]])
    return encode_samples({"start_ns": start_ns.tolist(), "latency_ns": latency_ns.tolist()}, **header)


def make_report(run: Run, board: Board, latency_ns: Any, accuracy: float, energy: JsonObject) -> JsonObject:
    """A report as an agent would send it."""
    figures = summarize_latency(latency_ns)
    after = {
        "governors": ["performance"],
        "frequencies_khz": [1_800_000],
        "temperatures_c": {"cpu-thermal": board.celsius},
        "throttled_bits": board.throttled_bits,
        "monotonic_ns": 2,
    }
    suspect = board.throttled_bits
    operators = [
        ("Conv", 0.71, 21),
        ("FusedConv", 0.14, 6),
        ("Gemm", 0.08, 1),
        ("MaxPool", 0.05, 2),
        ("Reshape", 0.02, 1),
    ]
    p50_us = float(np.median(latency_ns)) / 1e3
    n_correct = round(accuracy * 1000)
    return {
        "agent_version": "0.1.0",
        "provenance": "simulated" if board.kind == "simulated" else "measured",
        "artifact": run.order["artifact"],
        "load": {
            "load_ms": 41.0,
            "first_inference_ms": 33.0,
            "n_warmup": N_WARMUP,
            "warmup_ms": 300.0,
            "warm_load_ms": 22.0,
        },
        "latency_ms": {
            "n": figures.n,
            **figures.percentiles,
            "mean": figures.mean,
            "minimum": figures.minimum,
            "maximum": figures.maximum,
            "intervals": figures.intervals,
            "throughput_per_s": 1e9 / float(latency_ns.mean()),
            "n_outliers": 6,
            "outlier_causes": {"unexplained": 6},
        },
        "energy": energy,
        "accuracy": {
            "value": accuracy,
            "n": 1000,
            "n_correct": n_correct,
            "interval": wilson_interval(n_correct, 1000),
        },
        "memory": {
            "after_import_bytes": 41_000_000,
            "after_load_bytes": 52_000_000,
            "peak_load_bytes": 61_000_000,
            "peak_run_bytes": 58_000_000,
            "peak_memory_bytes": 61_000_000,
        },
        "placement": {
            "shares": {"CPUExecutionProvider": 1.0},
            "n_operators": {"CPUExecutionProvider": 31},
            "basis": "time",
            "accelerator_share": 0.0,
            "operators": [
                {
                    "name": name,
                    "operator": name,
                    "provider": "CPUExecutionProvider",
                    "n_nodes": n,
                    "time_us": share * p50_us,
                    "share": share,
                }
                for name, share, n in operators
            ],
        },
        "environment": {
            "host": {"cpu_model": "Cortex-A72", "n_cores": 4, "kernel": "6.12.25", "virtualization": None},
            "before": after | {"monotonic_ns": 1},
            "after": after,
            "runtime": {"name": "onnxruntime", "version": "1.22.1", "interpreter": "python3"},
            "settings": {"threads": 4, "batch": 1, "seconds": 6.0},
        },
        "verdict": {"status": "suspect", "reasons": ["throttled_sticky"]} if suspect else {"status": "valid"},
    }
