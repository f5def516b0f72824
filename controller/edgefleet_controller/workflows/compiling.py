"""Compiles a variant's candidate for its target, unless the same was done before or is being done now."""

import asyncio

from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.db.tables import Artifact
from edgefleet_controller.workflows.compiled import store_compiled
from edgefleet_controller.workflows.keys import JsonObject, artifact_key
from edgefleet_controller.workflows.repository import VariantWork
from edgefleet_controller.workflows.workbench import DEPLOY_STEP, Workbench
from edgefleet_deploy.targets import get_target


def reuse_compiled(bench: Workbench, variant: VariantWork) -> bool:
    """Take the cached artifact of the variant's candidate; False where there is none, or a file of it is gone."""
    if variant.artifact_key is not None:
        return True
    if variant.no_cache:
        return False
    candidate_sha256, _ = bench.journal.candidate_of(variant)
    key = artifact_key(variant, get_target(variant.target), candidate_sha256)
    return bench.journal.reuse_artifact(variant, canonical_sha256(key), bench.blobs.exists)


async def make_artifact(bench: Workbench, variant: VariantWork) -> bool:
    """Compile; False while another variant's worker makes the same artifact. Raises StepFailed."""
    if await asyncio.to_thread(reuse_compiled, bench, variant):
        return True
    candidate_sha256, candidate_name = await asyncio.to_thread(bench.journal.candidate_of, variant)
    key = artifact_key(variant, get_target(variant.target), candidate_sha256)
    key_sha256 = canonical_sha256(key)
    async with bench.claimed(variant, key_sha256) as is_mine:
        if not is_mine:
            return False
        await _compile(bench, variant, key, candidate_name)
    return True


async def _compile(bench: Workbench, variant: VariantWork, key: JsonObject, candidate_name: str) -> None:
    async with bench.compute.scratch(f"compile-{variant.variant_id}") as folder:
        evaluation = variant.evaluation_sha256
        request = {
            "task": "compile",
            "candidate": bench.link(folder, candidate_name, str(key["candidate_sha256"])),
            "target": {"name": variant.target},
            "data": bench.data_spec(folder, variant.data),
            "evaluation": bench.link(folder, "evaluation.npz", evaluation) if evaluation else None,
            "recipe_sha256": variant.recipe_sha256,
            "seed": variant.seed,
            "threads": bench.threads,
            "output_dir": str(folder / "out"),
        }
        result = await bench.compute.run(DEPLOY_STEP, request, report=bench.progress_of(variant, "compile"))
        files = await asyncio.to_thread(store_compiled, bench.blobs, folder, result)
    row = Artifact(
        key_sha256=canonical_sha256(key),
        key=key,
        sha256=files.artifact.sha256,
        size_bytes=files.artifact.size_bytes,
        target=variant.target,
        manifest=result["manifest"],
        accuracy_host=files.accuracy_host,
        created_at=bench.clock.now(),
    )
    await asyncio.to_thread(bench.journal.store_artifact, variant, row, files.beside)
