"""Fills a seeded controller with many boards, jobs and runs by bulk inserts. Their figures are drawn from a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session
from tests.browser.seeding import Seeded

from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Device, Job, Result, Run, Variant

JsonObject = dict[str, Any]
BATCH = 1000


@dataclass(frozen=True)
class Extent:
    """How much: boards, jobs of ``n_variants`` x ``n_boards_each`` runs, and the points of one large job on two boards."""

    n_boards: int = 200
    n_jobs: int = 900
    n_variants: int = 10
    n_boards_each: int = 10
    n_points: int = 10_000


@dataclass(frozen=True)
class Filled:
    """What the pages of the bench name."""

    job_id: str
    large_job_id: str
    run_ids: tuple[str, str]
    device_id: str
    n_runs: int


@dataclass(frozen=True)
class _Template:
    """A seeded run with its result: what the others are made after."""

    variant: Variant
    run: Run
    result: Result


def fill(session: Session, seeded: Seeded, extent: Extent, now: datetime) -> Filled:
    """Insert everything; the session is committed by the caller."""
    rng = np.random.default_rng(11)
    templates = _templates(session, seeded.job_id)
    source = session.get_one(Job, seeded.job_id)
    devices = _add_devices(session, session.get_one(Device, seeded.devices["kitchen-pi"]), extent.n_boards, now)
    written = _Written(session, templates, rng)
    jobs = []
    for index in range(extent.n_jobs):
        at = now - timedelta(minutes=20 * (extent.n_jobs - index))
        first = (index * 7) % len(devices)
        chosen = [devices[(first + step) % len(devices)] for step in range(extent.n_boards_each)]
        jobs.append(written.add_job(source, f"sweep {index}", extent.n_variants, chosen, at))
    large = written.add_job(source, "large sweep", extent.n_points // 2, devices[:2], now - timedelta(days=20))
    written.flush()
    newest = session.scalars(select(Run.id).where(Run.job_id == jobs[-1]).limit(2)).all()
    return Filled(jobs[-1], large, (newest[0], newest[1]), devices[(extent.n_jobs * 7) % len(devices)], written.n_runs)


def analyse(session: Session) -> None:
    """Let the database look at its tables, as it does by itself after a while."""
    session.execute(text("ANALYZE"))


def _templates(session: Session, job_id: str) -> Sequence[_Template]:
    query = (
        select(Variant, Run, Result)
        .join(Run, Run.variant_id == Variant.id)
        .join(Result, Result.run_id == Run.id)
        .where(Variant.job_id == job_id, Result.provenance == "measured", Result.verdict == "valid")
    )
    return [_Template(*row) for row in session.execute(query)]


def _add_devices(session: Session, source: Device, n_boards: int, now: datetime) -> list[str]:
    rows = [
        {
            "id": new_id("dev"),
            "name": f"board-{index:03}",
            "board": source.board,
            "kind": "physical",
            "state": "active",
            "labels": {"rack": str(index // 20)},
            "facts": source.facts,
            "facts_sha256": source.facts_sha256,
            "agent_version": source.agent_version,
            "last_seen_at": now,
            "enrolled_at": now,
            "created_at": now,
        }
        for index in range(n_boards)
    ]
    session.execute(insert(Device), rows)
    return [str(row["id"]) for row in rows]


class _Written:
    """Rows of variants, runs and results, inserted many at a time."""

    def __init__(self, session: Session, templates: Sequence[_Template], rng: np.random.Generator) -> None:
        self._session, self._templates, self._rng = session, templates, rng
        self._variants: list[JsonObject] = []
        self._runs: list[JsonObject] = []
        self._results: list[JsonObject] = []
        self.n_runs = 0

    def add_job(self, source: Job, name: str, n_variants: int, devices: Sequence[str], at: datetime) -> str:
        """A completed job with one run of each variant on each device."""
        job = {
            "id": new_id("job"),
            "name": name,
            "model_id": source.model_id,
            "state": "completed",
            "request": source.request,
            "progress": 1.0,
            "message": "completed",
            "created_at": at,
            "started_at": at,
            "finished_at": at + timedelta(minutes=15),
        }
        self._session.execute(insert(Job), [job])
        for ordinal in range(n_variants):
            self._add_variant(str(job["id"]), ordinal, devices, at)
        if len(self._runs) >= 10 * BATCH:
            self.flush()
        return str(job["id"])

    def _add_variant(self, job_id: str, ordinal: int, devices: Sequence[str], at: datetime) -> None:
        template = self._templates[ordinal % len(self._templates)]
        variant_id = new_id("var")
        self._variants.append(
            {
                "id": variant_id,
                "job_id": job_id,
                "ordinal": ordinal,
                "name": f"{template.variant.name}-{ordinal}",
                "recipe": template.variant.recipe,
                "recipe_sha256": template.variant.recipe_sha256,
                "target": template.variant.target,
                "state": "completed",
                "artifact_key": template.variant.artifact_key,
            }
        )
        for device_id in devices:
            self._add_run(job_id, variant_id, template, device_id, at)

    def _add_run(self, job_id: str, variant_id: str, template: _Template, device_id: str, at: datetime) -> None:
        run_id = new_id("run")
        run, result = template.run, template.result
        self._runs.append(
            {
                "id": run_id,
                "job_id": job_id,
                "variant_id": variant_id,
                "device_id": device_id,
                "artifact_sha256": run.artifact_sha256,
                "state": "completed",
                "attempt": 1,
                "order": run.order,
                "created_at": at,
                "started_at": at,
                "finished_at": at + timedelta(minutes=5),
            }
        )
        self._results.append(self._result(run_id, job_id, result, at))
        self.n_runs += 1

    def _result(self, run_id: str, job_id: str, like: Result, at: datetime) -> JsonObject:
        """Slower ones are more accurate, with scatter: a front of some hundred of 10,000."""
        speed = float(self._rng.lognormal(0.0, 0.6))
        accuracy = float(np.clip(0.9 + 0.05 * np.log(speed) + 0.01 * self._rng.normal(), 0.1, 0.999))
        latency = dict(like.report["latency_ms"])
        latency |= {name: latency[name] * speed for name in ("p50", "p90", "p99", "mean", "minimum", "maximum")}
        latency["intervals"] = {name: [low * speed, high * speed] for name, (low, high) in latency["intervals"].items()}
        report = like.report | {"latency_ms": latency, "accuracy": like.report["accuracy"] | {"value": accuracy}}
        report["accuracy"]["interval"] = [accuracy - 0.01, accuracy + 0.01]
        energy = like.energy_mj * speed if like.energy_mj is not None else None
        return {
            "run_id": run_id,
            "attempt": 1,
            "job_id": job_id,
            "report": report,
            "report_sha256": like.report_sha256,
            "samples_sha256": like.samples_sha256,
            "provenance": "measured",
            "verdict": "valid" if self._rng.random() < 0.8 else "suspect",
            "latency_n": like.latency_n,
            "latency_p50_ms": latency["p50"],
            "latency_p90_ms": latency["p90"],
            "latency_p99_ms": latency["p99"],
            "peak_memory_bytes": like.peak_memory_bytes,
            "accuracy": accuracy,
            "energy_mj": energy,
            "energy_reason": None if energy is not None else like.energy_reason,
            "energy_scope": like.energy_scope,
            "created_at": at + timedelta(minutes=5),
        }

    def flush(self) -> None:
        """Insert what was gathered."""
        for table, rows in ((Variant, self._variants), (Run, self._runs), (Result, self._results)):
            for part in _parts(rows):
                self._session.execute(insert(table), part)
            rows.clear()


def _parts(rows: list[JsonObject]) -> Iterator[list[JsonObject]]:
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH]
