"""Whatever ends a step ends its variant or job with a code: nothing stays `running` for ever."""

import asyncio
import errno
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgefleet_compression.errors import RecipeInvalid
from edgefleet_controller.db.tables import Compression, Job, Variant
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed
from edgefleet_controller.engine.protocol import BEGIN_JOB, CPU_QUEUE, JOBS_QUEUE, Task
from edgefleet_controller.jobs.service import request_cancel
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.journal import Journal
from edgefleet_controller.workflows.steps import COMPILE_VARIANT, COMPRESS_VARIANT, DISPATCH_VARIANT, HostSteps
from edgefleet_controller.workflows.workbench import Workbench

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


def carry_out(fleet: Any, compute: HostCompute, task: Task) -> Sequence[Task]:
    services = fleet.services
    bench = Workbench(
        database=services.database,
        blobs=services.blobs,
        clock=services.clock,
        compute=compute,
        threads=1,
        journal=Journal(services.database),
    )
    return asyncio.run(HostSteps(bench).tasks()[task.name](task))


def until_compressed(fleet: Any, compute: HostCompute, job: JsonObject) -> Sequence[Task]:
    """Carry out the job's tasks up to the first compression; returns what follows it."""
    [prepare] = carry_out(fleet, compute, Task(BEGIN_JOB, job["id"], JOBS_QUEUE, 1))
    [compress] = carry_out(fleet, compute, prepare)
    assert (compress.name, compress.queue) == (COMPRESS_VARIANT, "cpu")
    return carry_out(fleet, compute, compress)


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
    compute = ScriptedCompute(tmp_path / "work")
    [prepare] = carry_out(fleet, compute, Task(BEGIN_JOB, job["id"], JOBS_QUEUE, 1))
    assert carry_out(fleet, compute, prepare) == []
    stored = row_of(fleet, Job, job["id"])
    assert (stored.state, stored.error["code"]) == ("failed", "blob_lost")
    assert row_of(fleet, Variant, job["variants"][0]["id"]).state == "failed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "internal_error"),
        (KeyError("candidate"), "internal_error"),
        (StepFailed("recipe_invalid", "no such pass"), "recipe_invalid"),
        (RecipeInvalid("no such field", code="budget_ambiguous"), "budget_ambiguous"),
    ],
)
def test_an_end_that_would_come_again_fails_the_variant_and_with_the_last_one_the_job(
    fleet: Any, tmp_path: Path, error: Exception, code: str
) -> None:
    job = start_job(fleet)
    assert until_compressed(fleet, ScriptedCompute(tmp_path / "work", PREPARED, error), job) == []
    variant = row_of(fleet, Variant, job["variants"][0]["id"])
    assert (variant.state, variant.error["code"]) == ("failed", code)
    stored = row_of(fleet, Job, job["id"])
    assert (stored.state, stored.error["code"]) == ("failed", code)


class HalfDone(ScriptedCompute):
    """Leaves the file of the finished passes in every step's folder."""

    @asynccontextmanager
    async def scratch(self, name: str) -> AsyncIterator[Path]:
        async with super().scratch(name) as folder:
            (folder / "out" / "partial-candidate.onnx").write_bytes(b"half")
            yield folder


def test_what_the_finished_passes_made_is_kept_and_named_in_the_error(fleet: Any, tmp_path: Path) -> None:
    job = start_job(fleet)
    partial = {"file": "partial-candidate.onnx", "passes_done": 1, "n_passes": 2}
    error = StepFailed("nan_loss", "The loss became nan.", {"partial": partial})
    assert until_compressed(fleet, HalfDone(tmp_path / "work", PREPARED, error), job) == []
    detail = row_of(fleet, Variant, job["variants"][0]["id"]).error["detail"]
    sha256 = hashlib.sha256(b"half").hexdigest()
    assert detail["partial"] == {**partial, "sha256": sha256, "size_bytes": 4}
    assert fleet.services.blobs.path(sha256).read_bytes() == b"half"
    kinds = [event["kind"] for event in fleet.get(f"/v1/jobs/{job['id']}/events")["items"]]
    assert kinds.index("partial_kept") < kinds.index("variant_failed")


def test_a_full_disk_is_tried_again_and_every_attempt_is_in_the_log(fleet: Any, tmp_path: Path) -> None:
    job = start_job(fleet)
    full = OSError(errno.ENOSPC, "No space left on device")
    compute = ScriptedCompute(tmp_path / "work", PREPARED, full, full, full, full)
    delays = []
    following = until_compressed(fleet, compute, job)
    while following:
        [again] = following
        delays.append(again.delay_s)
        following = carry_out(fleet, compute, again)
    assert delays == [30.0, 60.0, 120.0]
    variant = row_of(fleet, Variant, job["variants"][0]["id"])
    assert (variant.error["code"], variant.error["detail"]["attempts"]) == ("disk_full", 4)
    retried = [
        event["detail"]
        for event in fleet.get(f"/v1/jobs/{job['id']}/events")["items"]
        if event["kind"] == "step_retried"
    ]
    assert [(event["attempt"], event["error"]["code"]) for event in retried] == [(n, "disk_full") for n in (1, 2, 3)]


@pytest.mark.parametrize("name", [COMPRESS_VARIANT, DISPATCH_VARIANT])
def test_a_task_that_meets_a_cancel_in_progress_does_nothing(each_fleet: Any, tmp_path: Path, name: str) -> None:
    """The cancel holds the job's lock when the task asks for it; the task has to see what the cancel wrote."""
    job = start_job(each_fleet)
    variant_id = job["variants"][0]["id"]
    each_fleet.enqueue(job, each_fleet.add_device("other"))  # gives the variant an artifact
    with each_fleet.services.database.writing() as session:
        session.get_one(Variant, variant_id).state = "compiling"
    began = threading.Event()

    def late() -> Sequence[Task]:
        began.set()
        task = Task(name, job["id"], CPU_QUEUE, 1, variant_id=variant_id)
        return carry_out(each_fleet, ScriptedCompute(tmp_path / "work"), task)

    with ThreadPoolExecutor(1) as pool:
        with each_fleet.services.database.writing() as session:
            request_cancel(session, job["id"])
            session.flush()
            answer = pool.submit(late)
            began.wait(30)
            with pytest.raises(TimeoutError):
                answer.result(timeout=0.5)
        assert answer.result(timeout=30) == []
    assert row_of(each_fleet, Variant, variant_id).state == "compiling"
    assert [run["state"] for run in each_fleet.get("/v1/runs", job=job["id"])["items"]] == ["cancelled"]


def test_a_cached_candidate_whose_file_is_gone_is_made_again(fleet: Any, tmp_path: Path) -> None:
    result = {"candidate": "candidate.onnx", "cost_s": 1.0}
    first = start_job(fleet)
    [compile_task] = until_compressed(fleet, ScriptedCompute(tmp_path / "work", PREPARED, result), first)
    assert (compile_task.name, compile_task.queue) == (COMPILE_VARIANT, "compile")
    key = row_of(fleet, Variant, first["variants"][0]["id"]).compression_key
    fleet.services.blobs.path(row_of(fleet, Compression, key).candidate_sha256).unlink()

    second = fleet.post("/v1/jobs", {"model": first["model_id"], "recipes": ["baseline"]})
    compute = ScriptedCompute(tmp_path / "work", result)
    # the evaluation set of the first job serves the second, so compressing is its first work
    [compress] = carry_out(fleet, compute, Task(BEGIN_JOB, second["id"], JOBS_QUEUE, 1))
    assert compress.name == COMPRESS_VARIANT
    carry_out(fleet, compute, compress)
    variant = row_of(fleet, Variant, second["variants"][0]["id"])
    assert (variant.compression_key, variant.compression_cached) == (key, False)
    assert fleet.services.blobs.exists(row_of(fleet, Compression, key).candidate_sha256)


def test_what_is_cached_is_not_queued_for_a_machine(fleet: Any, tmp_path: Path) -> None:
    result = {"candidate": "candidate.onnx", "cost_s": 1.0}
    first = start_job(fleet)
    until_compressed(fleet, ScriptedCompute(tmp_path / "work", PREPARED, result), first)
    second = fleet.post("/v1/jobs", {"model": first["model_id"], "recipes": ["baseline"]})
    begin = Task(BEGIN_JOB, second["id"], JOBS_QUEUE, 1)
    assert [task.name for task in carry_out(fleet, ScriptedCompute(tmp_path / "work"), begin)] == [COMPILE_VARIANT]
    assert row_of(fleet, Variant, second["variants"][0]["id"]).compression_cached is True
    with_no_cache = fleet.post("/v1/jobs", {"model": first["model_id"], "recipes": ["baseline"], "no_cache": True})
    begin = Task(BEGIN_JOB, with_no_cache["id"], JOBS_QUEUE, 1)
    assert [task.name for task in carry_out(fleet, ScriptedCompute(tmp_path / "work"), begin)] == [COMPRESS_VARIANT]
