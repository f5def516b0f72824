"""The tasks of a whole job, carried out in this process by an engine without durability."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edgefleet_controller.blobs.opening import open_blob_store
from edgefleet_controller.clock import SystemClock
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Blob, Device, Job, Model, Run
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed
from edgefleet_controller.engine.in_memory import run_tasks
from edgefleet_controller.engine.protocol import Task
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service
from edgefleet_controller.jobs.schemas import JobCreate
from edgefleet_controller.settings import Settings
from edgefleet_controller.workflows.compute import HostCompute
from edgefleet_controller.workflows.journal import Journal
from edgefleet_controller.workflows.steps import HostSteps
from edgefleet_controller.workflows.workbench import Workbench

JsonObject = dict[str, Any]
FACTS = {"format": "onnx", "inputs": [], "outputs": [], "n_parameters": 1}


class FakeCompute(HostCompute):
    """Leaves the files of each step at once; ``fails`` are codes for the next executions of a task."""

    def __init__(self, work_dir: Path) -> None:
        super().__init__(work_dir, limits=ChildLimits())
        self._work_dir = work_dir
        self.executions: list[str] = []
        self.fails: dict[str, list[str]] = {}
        self._folder = work_dir

    @asynccontextmanager
    async def scratch(self, name: str) -> AsyncIterator[Path]:
        async with super().scratch(name) as folder:
            self._folder = folder / "out"
            yield folder

    async def run(
        self, module: str, request: Mapping[str, Any], *, report: Callable[[str, JsonObject], None]
    ) -> JsonObject:
        task = str(request["task"])
        self.executions.append(task)
        if self.fails.get(task):
            raise StepFailed(self.fails[task].pop(0), "as told")
        if task == "prepare_data":
            return {"evaluation": None, "n_evaluation": 0, "data_sha256": None, "has_labels": False}
        if task == "compress":
            (self._folder / "candidate.onnx").write_text(str(request["recipe"]["name"]))
            return {"candidate": "candidate.onnx", "cost_s": 0.1}
        content = Path(request["candidate"]).read_bytes() + str(request["target"]).encode()
        (self._folder / "model.onnx").write_bytes(content)
        manifest = {
            "file_name": "model.onnx",
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return {"artifact": "model.onnx", "manifest": manifest, "accuracy_host": {"metric": "top1", "value": 0.9}}


class Bench:
    """A store with a model and a device, and the tasks on it."""

    def __init__(self, folder: Path, store: Path) -> None:
        settings = Settings(data_dir=folder, database_url=f"sqlite:///{store}")
        self.database = Database.from_url(settings.resolved_database_url)
        self.compute = FakeCompute(folder / "work")
        blobs = open_blob_store(settings)
        journal = Journal(self.database)
        bench = Workbench(
            database=self.database, blobs=blobs, clock=SystemClock(), compute=self.compute, threads=1, journal=journal
        )
        self.workbench = bench
        ref = blobs.put_stream([b"model"])
        now = datetime.now(UTC)
        with self.database.writing() as session:
            session.add(Blob(sha256=ref.sha256, size_bytes=5, media_type="x", created_at=now))
            session.add(
                Device(id="d", name="d", board="linux-host", kind="physical", state="active", labels={}, created_at=now)
            )
            session.flush()
            session.add(Model(id="m", name="m", format="onnx", blob_sha256=ref.sha256, facts=FACTS, created_at=now))

    def run(self, *recipes: str, **fields: Any) -> tuple[str, list[str]]:
        """Submit a job and carry out its tasks; returns its identifier and their names."""
        job_id = self.submit(*recipes, **fields)
        return job_id, [task.name for task in self.carry_out(job_id)]

    def submit(self, *recipes: str, **fields: Any) -> str:
        request = JobCreate(model="m", recipes=list(recipes), devices=["d"], **fields)
        with self.database.writing() as session:
            return service.create_job(session, request).id

    def carry_out(self, job_id: str, claims: Any = None) -> list[Task]:
        tasks = HostSteps(replace(self.workbench, claims=claims)).tasks()
        return asyncio.run(run_tasks(tasks, job_id))

    def states(self, job_id: str) -> tuple[str, list[str]]:
        with self.database.reading() as session:
            return session.get_one(Job, job_id).state, jobs.variant_states(session, job_id)


@pytest.fixture
def bench(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Bench]:
    store = tmp_path / "store.db"
    store.write_bytes(migrated_sqlite.read_bytes())
    bench = Bench(tmp_path / "data", store)
    yield bench
    bench.database.dispose()


def test_a_job_goes_through_its_tasks_and_the_same_job_through_two(bench: Bench) -> None:
    first, tasks = bench.run("baseline", "int8")
    assert tasks[:2] == ["begin_job", "prepare_data"]
    assert sorted(tasks[2:]) == sorted(["compress_variant", "compile_variant", "dispatch_variant"] * 2)
    assert bench.states(first) == ("running", ["dispatched", "dispatched"])
    bench.compute.executions.clear()
    second, tasks = bench.run("baseline", "int8")
    assert (tasks, bench.compute.executions) == (["begin_job", "dispatch_variant", "dispatch_variant"], [])
    with bench.database.reading() as session:
        assert (
            len(session.query(Run).where(Run.job_id == second).all()) == 2
        )  # measurements are never taken from a cache


def test_one_candidate_serves_all_targets_of_a_recipe(bench: Bench) -> None:
    bench.run("baseline", targets=["onnxruntime", "onnxruntime-current"])
    assert sorted(bench.compute.executions) == ["compile", "compile", "compress", "prepare_data"]


def test_a_variant_that_fails_leaves_the_others_alone_and_the_last_one_ends_the_job(bench: Bench) -> None:
    bench.compute.fails = {"compress": ["recipe_unsuitable"]}
    job_id, tasks = bench.run("baseline", "int8")
    assert sorted(bench.states(job_id)[1]) == ["dispatched", "failed"]
    assert tasks.count("compile_variant") == 1
    bench.compute.fails = {"compile": ["unsupported_operator"]}
    job_id, _ = bench.run("fp16")
    assert bench.states(job_id) == ("failed", ["failed"])


class TakenClaims:
    """Somebody else makes everything, until they were asked ``n`` times."""

    def __init__(self, n: int) -> None:
        self._n = n

    @asynccontextmanager
    async def held(self, key_sha256: str, variant_id: str) -> AsyncIterator[bool]:
        self._n -= 1
        yield self._n < 0


def test_what_another_worker_makes_is_waited_for_in_the_queue_and_not_made_twice(bench: Bench) -> None:
    job_id = bench.submit("baseline")
    tasks = bench.carry_out(job_id, TakenClaims(3))
    waited = [(task.n_waits, task.delay_s) for task in tasks if task.name == "compress_variant"]
    assert waited == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 4.0)]
    assert bench.compute.executions.count("compress") == 1
    with bench.database.reading() as session:
        kinds = [event.kind for event in jobs.events_after(session, job_id, 0, 100)]
    assert kinds.count("waits_for_same") == 1


def test_the_data_of_a_sweep_s_jobs_is_prepared_once(bench: Bench) -> None:
    """All of them are queued before the first one's data is there."""
    tasks, job_ids = HostSteps(bench.workbench).tasks(), [bench.submit("baseline") for _ in range(3)]
    planned = [asyncio.run(tasks["begin_job"](Task("begin_job", job_id, "jobs", 1))) for job_id in job_ids]
    for [prepare] in planned:
        assert prepare.name == "prepare_data"
        asyncio.run(tasks["prepare_data"](prepare))
    assert bench.compute.executions == ["prepare_data"]


def test_a_crash_is_carried_out_again(bench: Bench) -> None:
    bench.compute.fails = {"prepare_data": ["step_crashed"], "compress": ["step_crashed"]}
    job_id, tasks = bench.run("baseline")
    assert tasks == [
        "begin_job",
        *["prepare_data"] * 2,
        *["compress_variant"] * 2,
        "compile_variant",
        "dispatch_variant",
    ]
    assert bench.states(job_id)[1] == ["dispatched"]
