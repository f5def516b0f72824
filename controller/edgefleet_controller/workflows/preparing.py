"""The evaluation set of a job: made once for a model and its data, then shared by all jobs of the same."""

import asyncio
from typing import Any

from edgefleet_agent.wire.report import BlobRef
from edgefleet_controller.workflows.compute import result_file
from edgefleet_controller.workflows.journal import StartedJob
from edgefleet_controller.workflows.keys import data_key
from edgefleet_controller.workflows.workbench import COMPRESSION_STEP, Workbench

JsonObject = dict[str, Any]


async def prepare_data(bench: Workbench, job: StartedJob) -> None:
    """Write the job's evaluation set; StepFailed where its data or model cannot be read."""
    async with bench.compute.scratch(f"prepare-{job.job_id}") as folder:
        request = {
            "task": "prepare_data",
            "data": bench.data_spec(folder, job.data),
            "model": bench.link(folder, f"model.{job.model_format}", job.model_sha256),
            "output_dir": str(folder / "out"),
        }
        result = await bench.compute.run(
            COMPRESSION_STEP, request, report=lambda message, _: bench.journal.say(job.job_id, f"data: {message}")
        )
        evaluation: BlobRef | None = None
        if result.get("evaluation"):
            evaluation = await asyncio.to_thread(bench.blobs.put_file, result_file(folder, result, "evaluation"))
    key_sha256 = data_key(job.model_sha256, job.data)
    await asyncio.to_thread(bench.journal.store_prepared_data, job.job_id, evaluation, result, key_sha256)
