"""The work of a job's steps. Each may run more than once: files are content-addressed, rows keyed, states monotone."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.clock import Clock
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Artifact, Compression
from edgefleet_controller.jobs.sweep import settings_of
from edgefleet_controller.runs import service as runs
from edgefleet_controller.workflows import repository
from edgefleet_controller.workflows.compiled import COMPILED_FILES, golden_ref, store_compiled
from edgefleet_controller.workflows.compute import HostCompute, named_link, result_file
from edgefleet_controller.workflows.dispatching import refuse_unsuitable
from edgefleet_controller.workflows.failures import as_step_failure, stored_file
from edgefleet_controller.workflows.journal import Journal, set_state
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_deploy.targets import get_target

JsonObject = dict[str, Any]

COMPRESSION_TOOLS = ("edgefleet", "torch", "torch-pruning", "numpy")
COMPILE_TOOLS = ("edgefleet", "torch", "onnx", "onnxruntime", "numpy")
TFLITE_TOOLS = (
    "edgefleet",
    "torch",
    "numpy",
    "litert-torch",
    "litert-converter",
    "ai-edge-quantizer",
    "ai-edge-litert",
)
COMPRESSION_STEP = "edgefleet_compression.step"
DEPLOY_STEP = "edgefleet_deploy.step"


class HostSteps:
    """Runs a job's steps on this host."""

    def __init__(
        self, *, database: Database, blobs: BlobStore, clock: Clock, compute: HostCompute, threads: int
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._compute = compute
        self._threads = threads
        self._journal = Journal(database)

    async def begin(self, job_id: str) -> list[str]:
        """Mark the job as running, prepare its evaluation set once, return its variants."""
        started = await asyncio.to_thread(self._journal.start_job, job_id)
        if started is None:
            return []
        if not started.is_prepared:
            try:
                await self._prepare_data(job_id, started.model_sha256, started.model_format, started.data)
            except Exception as err:  # noqa: BLE001  # the rim of the step: every end is recorded with the job
                await asyncio.to_thread(self._journal.fail_job, job_id, as_step_failure(err).as_json())
                return []
        return list(started.variant_ids)

    async def _prepare_data(self, job_id: str, model_sha256: str, model_format: str, data: JsonObject | None) -> None:
        async with self._compute.scratch(f"prepare-{job_id}") as folder:
            request = {
                "task": "prepare_data",
                "data": self._data_spec(folder, data),
                "model": str(named_link(folder, f"model.{model_format}", stored_file(self._blobs, model_sha256))),
                "output_dir": str(folder / "out"),
            }
            result = await self._compute.run(
                COMPRESSION_STEP, request, report=lambda message, _: self._journal.say(job_id, f"data: {message}")
            )
            evaluation = None
            if result.get("evaluation"):
                evaluation = await asyncio.to_thread(self._blobs.put_file, result_file(folder, result, "evaluation"))
        await asyncio.to_thread(self._journal.store_prepared_data, job_id, evaluation, result)

    async def compress(self, variant_id: str) -> bool:
        """Make the candidate or take the cached one; False when the variant failed or its job was stopped."""
        return await self._guarded(variant_id, "compressing", self._compress)

    async def compile(self, variant_id: str) -> bool:
        """Compile the candidate or take the cached artifact; False when the variant failed or its job was stopped."""
        return await self._guarded(variant_id, "compiling", self._compile)

    async def _guarded(self, variant_id: str, state: str, work: Callable[[VariantWork], Any]) -> bool:
        variant = await asyncio.to_thread(self._journal.enter, variant_id, state)
        if variant is None:
            return False
        try:
            await work(variant)
        except Exception as err:  # noqa: BLE001  # the rim of the step: every end is recorded with the variant
            await asyncio.to_thread(self._journal.fail_variant, variant, state, as_step_failure(err).as_json())
            return False
        return True

    async def _compress(self, variant: VariantWork) -> None:
        if variant.compression_key is not None:
            return
        key = {
            "model_sha256": variant.model_sha256,
            "recipe_sha256": variant.recipe_sha256,
            "data_sha256": variant.data_sha256,
            "seed": variant.seed,
            "threads": self._threads,  # the order of floating-point sums depends on it
            "tools": {name: version(name) for name in COMPRESSION_TOOLS},
        }
        key_sha256 = canonical_sha256(key)
        if not variant.no_cache and await asyncio.to_thread(self._reuse_compression, variant, key_sha256):
            return
        async with (
            self._compute.scratch(f"compress-{variant.variant_id}") as folder,
            self._compute.kept(key_sha256) as checkpoints,
        ):
            model = named_link(folder, f"model.{variant.model_format}", stored_file(self._blobs, variant.model_sha256))
            request = {
                "task": "compress",
                "model": str(model),
                "recipe": variant.recipe,
                "data": self._data_spec(folder, variant.data),
                "seed": variant.seed,
                "threads": self._threads,
                "output_dir": str(folder / "out"),
                "checkpoint_dir": None if checkpoints is None else str(checkpoints),
            }
            result = await self._compute.run(COMPRESSION_STEP, request, report=self._progress_of(variant, "compress"))
            file = result_file(folder, result, "candidate")
            blob = await asyncio.to_thread(self._blobs.put_file, file)
        row = Compression(
            key_sha256=key_sha256,
            key=key,
            candidate_sha256=blob.sha256,
            result=result,
            cost_s=float(result.get("cost_s", 0.0)),
            created_at=self._clock.now(),
        )
        await asyncio.to_thread(self._journal.store_compression, variant, row, blob)

    async def _compile(self, variant: VariantWork) -> None:
        if variant.artifact_key is not None:
            return
        candidate_sha256, candidate_name = await asyncio.to_thread(self._journal.candidate_of, variant)
        target = get_target(variant.target)
        key = {
            "candidate_sha256": candidate_sha256,
            "recipe_sha256": variant.recipe_sha256,  # the manifest names it
            "target": asdict(target),
            "data_sha256": variant.data_sha256,
            "seed": variant.seed,
            "tools": tool_versions(TFLITE_TOOLS if target.file_format == "tflite" else COMPILE_TOOLS),
            "files": COMPILED_FILES,
        }
        key_sha256 = canonical_sha256(key)
        if not variant.no_cache and await asyncio.to_thread(self._reuse_artifact, variant, key_sha256):
            return
        async with self._compute.scratch(f"compile-{variant.variant_id}") as folder:
            evaluation = variant.evaluation_sha256
            request = {
                "task": "compile",
                "candidate": str(named_link(folder, candidate_name, stored_file(self._blobs, candidate_sha256))),
                "target": {"name": variant.target},
                "data": self._data_spec(folder, variant.data),
                "evaluation": str(named_link(folder, "evaluation.npz", stored_file(self._blobs, evaluation)))
                if evaluation
                else None,
                "recipe_sha256": variant.recipe_sha256,
                "seed": variant.seed,
                "threads": self._threads,
                "output_dir": str(folder / "out"),
            }
            result = await self._compute.run(DEPLOY_STEP, request, report=self._progress_of(variant, "compile"))
            files = await asyncio.to_thread(store_compiled, self._blobs, folder, result)
        row = Artifact(
            key_sha256=key_sha256,
            key=key,
            sha256=files.artifact.sha256,
            size_bytes=files.artifact.size_bytes,
            target=variant.target,
            manifest=result["manifest"],
            accuracy_host=files.accuracy_host,
            created_at=self._clock.now(),
        )
        await asyncio.to_thread(self._journal.store_artifact, variant, row, files.beside)

    def _reuse_compression(self, variant: VariantWork, key_sha256: str) -> bool:
        return self._journal.reuse_compression(variant, key_sha256, self._blobs.exists)

    def _reuse_artifact(self, variant: VariantWork, key_sha256: str) -> bool:
        return self._journal.reuse_artifact(variant, key_sha256, self._blobs.exists)

    async def dispatch(self, variant_id: str) -> bool:
        """Queue a run for each device and settings of the job; a repeat finds them. False when the variant failed."""
        try:
            return await asyncio.to_thread(self._dispatch, variant_id)
        except Exception as err:  # noqa: BLE001  # the rim of the step: every end is recorded with the variant
            variant = await asyncio.to_thread(self._journal.look_up, variant_id)
            await asyncio.to_thread(self._journal.fail_variant, variant, "dispatching", as_step_failure(err).as_json())
            return False

    def _dispatch(self, variant_id: str) -> bool:
        with self._database.writing() as session:
            repository.lock_job_of(session, variant_id)
            variant = repository.load_variant_work(session, variant_id)
            if variant.is_stopped or variant.artifact_key is None:
                return False
            artifact = repository.find_artifact(session, variant.artifact_key)
            assert artifact is not None
            job = repository.locked_job(session, variant.job_id)
            order = {
                "runtime": get_target(variant.target).runtime,
                "artifact": {"sha256": artifact.sha256, "size_bytes": artifact.size_bytes},
                "artifact_name": artifact.manifest["file_name"],
                "manifest": artifact.manifest,
                "evaluation": (job.prepared or {}).get("evaluation"),
                "golden": golden_ref(artifact.manifest),
            }
            swept = [settings.model_dump(mode="json") for settings in settings_of(job.request)]
            queued = [
                runs.enqueue_run(
                    session,
                    variant.job_id,
                    variant_id,
                    device_id,
                    order | {"settings": settings},
                    settings_ordinal=ordinal,
                )
                for device_id, (ordinal, settings) in product(job.request["device_ids"], enumerate(swept))
            ]
            set_state(session, variant, "dispatched", f"{variant.name}: waits for the boards")
            refuse_unsuitable(session, queued, get_target(variant.target), artifact.manifest)
        return True

    async def count_unfinished_runs(self, job_id: str) -> int:
        """Runs still queued or leased."""

        def count() -> int:
            with self._database.reading() as session:
                return repository.count_unfinished_runs(session, job_id)

        return await asyncio.to_thread(count)

    async def finish(self, job_id: str) -> str:
        """Close the job."""
        return await asyncio.to_thread(self._journal.finish_job, job_id)

    def _progress_of(self, variant: VariantWork, step: str) -> Callable[[str, JsonObject], None]:
        def report(message: str, event: JsonObject) -> None:
            fraction = event.get("fraction")
            share = f" {100 * fraction:.0f} %" if isinstance(fraction, int | float) else ""
            self._journal.say(variant.job_id, f"{variant.name}: {step}{share} {message}".rstrip())

        return report

    def _data_spec(self, folder: Path, data: JsonObject | None) -> JsonObject | None:
        if data is None or data.get("kind") != "npz":
            return data
        link = folder / "data.npz"
        if not link.is_symlink():
            named_link(folder, "data.npz", stored_file(self._blobs, str(data["sha256"])))
        return {"kind": "npz", "path": str(link)}


def tool_versions(names: Sequence[str]) -> dict[str, str | None]:
    """Return package -> version, null for one that is not installed: the compiler then says what is missing."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def canonical_sha256(value: object) -> str:
    """SHA-256 of the value's canonical JSON; the key of a cache."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
