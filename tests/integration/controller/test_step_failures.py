"""Whatever ends a step ends its variant or job with a code: nothing stays `running` for ever."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgefleet_controller.db.tables import Compression, Job, Variant
from edgefleet_controller.engine.child_process import ChildLimits
from edgefleet_controller.jobs.service import request_cancel
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.steps import HostSteps

JsonObject = dict[str, Any]
PREPARED = {"evaluation": None, "n_evaluation": 0, "data_sha256": None, "has_labels": False}


class ScriptedCompute(HostCompute):
    """Answers steps from a list; an exception in it is raised."""

    def __init__(self, work_dir: Path, *answers: JsonObject | Exception) -> None:
        super().__init__(work_dir, limits=ChildLimits())
        self._answers = list(answers)
        self.folders: list[Path] = []

    @asynccontextmanager
    async def scratch(self, name: str) -> AsyncIterator[Path]:
        async with super().scratch(name) as folder:
            self.folders.append(folder)
            yield folder

    async def run(
        self,
        module: str,
        request: Mapping[str, Any],
        *,
        report: Callable[[str, JsonObject], None],
    ) -> JsonObject:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        (self.folders[-1] / "out" / "candidate.onnx").write_bytes(b"candidate")
        return answer


def steps_of(fleet: Any, compute: HostCompute) -> HostSteps:
    services = fleet.services
    return HostSteps(database=services.database, blobs=services.blobs, clock=services.clock, compute=compute, threads=1)


def row_of(fleet: Any, table: type[Any], identifier: str) -> Any:
    with fleet.services.database.reading() as session:
        return session.get(table, identifier)


def start_job(fleet: Any) -> JsonObject:
    fleet.add_device()
    job: JsonObject = fleet.add_job()
    return job


def test_a_job_whose_model_file_is_gone_fails_with_a_code(fleet: Any, tmp_path: Path) -> None:
    job = start_job(fleet)
    model_sha256 = fleet.get(f"/v1/models/{job['model_id']}")["blob_sha256"]
    fleet.services.blobs.path(model_sha256).unlink()
    assert asyncio.run(steps_of(fleet, ScriptedCompute(tmp_path / "work")).begin(job["id"])) == []
    stored = row_of(fleet, Job, job["id"])
    assert (stored.state, stored.error["code"]) == ("failed", "blob_lost")
    assert row_of(fleet, Variant, job["variants"][0]["id"]).state == "failed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (PermissionError(errno.EACCES, "Permission denied"), "internal_error"),
        (KeyError("candidate"), "internal_error"),
    ],
)
def test_an_unexpected_end_of_a_step_fails_its_variant(fleet: Any, tmp_path: Path, error: Exception, code: str) -> None:
    job = start_job(fleet)
    variant_id = job["variants"][0]["id"]
    steps = steps_of(fleet, ScriptedCompute(tmp_path / "work", PREPARED, error))
    assert asyncio.run(steps.begin(job["id"])) == [variant_id]
    assert asyncio.run(steps.compress(variant_id)) is False
    variant = row_of(fleet, Variant, variant_id)
    assert (variant.state, variant.error["code"]) == ("failed", code)


@pytest.mark.parametrize("step", ["compress", "dispatch"])
def test_a_step_that_meets_a_cancel_in_progress_does_nothing(each_fleet: Any, tmp_path: Path, step: str) -> None:
    """The cancel holds the job's lock when the step asks for it; the step has to see what the cancel wrote."""
    job = start_job(each_fleet)
    variant_id = job["variants"][0]["id"]
    steps = steps_of(each_fleet, ScriptedCompute(tmp_path / "work"))
    each_fleet.enqueue(job, each_fleet.add_device("other"))  # gives the variant an artifact
    with each_fleet.services.database.writing() as session:
        session.get_one(Variant, variant_id).state = "compiling"
    began = threading.Event()

    def late() -> bool:
        began.set()
        return bool(asyncio.run(getattr(steps, step)(variant_id)))

    with ThreadPoolExecutor(1) as pool:
        with each_fleet.services.database.writing() as session:
            request_cancel(session, job["id"])
            session.flush()
            answer = pool.submit(late)
            began.wait(30)
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.5)
        assert answer.result(timeout=30) is False
    assert row_of(each_fleet, Variant, variant_id).state == "compiling"
    assert [run["state"] for run in each_fleet.get("/v1/runs", job=job["id"])["items"]] == ["cancelled"]


def test_a_cached_candidate_whose_file_is_gone_is_made_again(fleet: Any, tmp_path: Path) -> None:
    result = {"candidate": "candidate.onnx", "cost_s": 1.0}
    first = start_job(fleet)
    steps = steps_of(fleet, ScriptedCompute(tmp_path / "work", PREPARED, result))
    asyncio.run(steps.begin(first["id"]))
    assert asyncio.run(steps.compress(first["variants"][0]["id"])) is True
    key = row_of(fleet, Variant, first["variants"][0]["id"]).compression_key
    fleet.services.blobs.path(row_of(fleet, Compression, key).candidate_sha256).unlink()

    second = fleet.post("/v1/jobs", {"model": first["model_id"], "recipes": ["baseline"]})
    steps = steps_of(fleet, ScriptedCompute(tmp_path / "work", PREPARED, result))
    asyncio.run(steps.begin(second["id"]))
    assert asyncio.run(steps.compress(second["variants"][0]["id"])) is True
    variant = row_of(fleet, Variant, second["variants"][0]["id"])
    assert (variant.compression_key, variant.compression_cached) == (key, False)
    assert fleet.services.blobs.exists(row_of(fleet, Compression, key).candidate_sha256)
