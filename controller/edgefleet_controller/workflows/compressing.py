"""Makes a variant's candidate, unless the same was made before or is being made now."""

import asyncio
from pathlib import Path

from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.db.tables import Compression
from edgefleet_controller.engine.child_process import StepFailed
from edgefleet_controller.workflows.compute import result_file
from edgefleet_controller.workflows.keys import TORCH_DEVICES, JsonObject, compression_key
from edgefleet_controller.workflows.recipes import recipe_of
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_controller.workflows.workbench import COMPRESSION_STEP, Workbench


def reuse_candidate(bench: Workbench, variant: VariantWork) -> bool:
    """Take the cached candidate; False where there is none, or its file is gone. ``no_cache`` finds only its own."""
    if variant.compression_key is not None:
        return True
    if variant.no_cache:
        return False
    key_sha256 = canonical_sha256(compression_key(variant, bench.threads))
    return bench.journal.reuse_compression(variant, key_sha256, bench.blobs.exists)


async def make_candidate(bench: Workbench, variant: VariantWork) -> bool:
    """Compress; False while another variant's worker makes the same candidate. Raises StepFailed."""
    if await asyncio.to_thread(reuse_candidate, bench, variant):
        return True
    key = compression_key(variant, bench.threads)
    key_sha256 = canonical_sha256(key)
    async with bench.claimed(variant, key_sha256) as is_mine:
        if not is_mine:
            return False
        await _compress(bench, variant, key, key_sha256)
    return True


async def _compress(bench: Workbench, variant: VariantWork, key: JsonObject, key_sha256: str) -> None:
    async with (
        bench.compute.scratch(f"compress-{variant.variant_id}") as folder,
        bench.compute.kept(key_sha256) as checkpoints,
    ):
        request = _request(bench, variant, folder, checkpoints)
        passes = request["recipe"]["passes"]
        shared = {name: value for name, value in key.items() if name != "recipe_sha256"}
        if checkpoints is not None and not variant.no_cache:
            await asyncio.to_thread(bench.compute.prefixes.lend, shared, passes, checkpoints)
        try:
            result = await bench.compute.run(COMPRESSION_STEP, request, report=bench.progress_of(variant, "compress"))
        except StepFailed as failure:
            await asyncio.to_thread(_keep_partial, bench, variant, folder, failure)
            raise
        blob = await asyncio.to_thread(bench.blobs.put_file, result_file(folder, result, "candidate"))
        if checkpoints is not None:
            await asyncio.to_thread(bench.compute.prefixes.keep, shared, passes, checkpoints)
    row = Compression(
        key_sha256=key_sha256,
        key=key,
        candidate_sha256=blob.sha256,
        result=result,
        cost_s=float(result.get("cost_s", 0.0)),
        created_at=bench.clock.now(),
    )
    await asyncio.to_thread(bench.journal.store_compression, variant, row, blob)


def _keep_partial(bench: Workbench, variant: VariantWork, folder: Path, failure: StepFailed) -> None:
    """Store the candidate of the passes that were finished, if the step wrote one, and name it in the error."""
    partial = failure.detail.get("partial")
    if not isinstance(partial, dict):
        return
    blob = bench.blobs.put_file(result_file(folder, partial, "file"))
    bench.journal.store_partial(variant, str(partial["file"]), blob)
    failure.detail["partial"] = {**partial, "sha256": blob.sha256, "size_bytes": blob.size_bytes}


def _request(bench: Workbench, variant: VariantWork, folder: Path, checkpoints: Path | None) -> JsonObject:
    return {
        "task": "compress",
        "model": bench.link(folder, f"model.{variant.model_format}", variant.model_sha256),
        "recipe": recipe_of(variant).model_dump(mode="json"),
        "data": bench.data_spec(folder, variant.data),
        "seed": variant.seed,
        "threads": bench.threads,
        "device": TORCH_DEVICES[variant.compute],
        "output_dir": str(folder / "out"),
        "checkpoint_dir": None if checkpoints is None else str(checkpoints),
    }
