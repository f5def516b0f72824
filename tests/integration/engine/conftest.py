"""Worker processes with steps that wait for a test's word, on a store with one model and one device."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import select

from edgefleet_controller.blobs.opening import open_blob_store
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.db.tables import Blob, Device, Job, JobEvent, LeaderLease, Model, Worker
from edgefleet_controller.engine.dbos_engine import DbosEngine, prepare_engine_database
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service
from edgefleet_controller.jobs.schemas import JobCreate
from edgefleet_controller.settings import Settings

HERE = Path(__file__).parent
MARK = "EDGEFLEET_TEST_MARK"
DEADLINE_S = 240
HEARTBEAT_S, TIMEOUT_S = 0.3, 3600.0
"""So long a time-out that no worker on a busy host is taken for dead; tests let time pass, see ``let_time_pass``."""
FACTS = {"format": "onnx", "inputs": [], "outputs": [], "n_parameters": 1}


class Site:
    """A store, a folder of gates and the worker processes on them."""

    def __init__(self, root: Path, database_url: str) -> None:
        self.root = root
        self.gates = root / "gates"
        self.gates.mkdir(parents=True)
        self.mark = uuid.uuid4().hex
        self.settings = Settings(data_dir=root / "data", database_url=database_url)
        self.database = Database.from_url(database_url)
        self.blobs = open_blob_store(self.settings)
        prepare_engine_database(self.settings.resolved_engine_url)
        self.engine = DbosEngine(self.settings.resolved_engine_url)
        self.workers: list[subprocess.Popen[bytes]] = []
        self._fill()

    def _fill(self) -> None:
        ref = self.blobs.put_stream([b"model"])
        now = datetime.now(UTC)
        with self.database.writing() as session:
            session.add(Blob(sha256=ref.sha256, size_bytes=5, media_type="x", created_at=now))
            session.add(
                Device(
                    id="dev_1", name="d", board="linux-host", kind="physical", state="active", labels={}, created_at=now
                )
            )
            session.flush()
            session.add(Model(id="mod_1", name="m", format="onnx", blob_sha256=ref.sha256, facts=FACTS, created_at=now))

    def start_worker(self, name: str, queues: str = "jobs,cpu,compile") -> subprocess.Popen[bytes]:
        environment = os.environ | {
            MARK: self.mark,
            "PYTHONPATH": str(HERE),
            "EDGEFLEET_TEST_STEPS": str(self.gates),
            "EDGEFLEET_DATA_DIR": str(self.settings.data_dir),
            "EDGEFLEET_DATABASE_URL": self.settings.database_url or "",
            "EDGEFLEET_WORKER_HEARTBEAT_S": str(HEARTBEAT_S),
            "EDGEFLEET_WORKER_TIMEOUT_S": str(TIMEOUT_S),
        }
        with (self.root / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "gated_worker.py"), name, queues],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.workers.append(process)
        return process

    def submit(self, *recipes: str, **fields: Any) -> str:
        """A job as the API would store it, handed to the engine."""
        request = JobCreate(model="mod_1", recipes=list(recipes or ("baseline",)), devices=["dev_1"], **fields)
        with self.database.writing() as session:
            job_id = service.create_job(session, request).id
            priority = jobs.turn_of(session, job_id)
        self.engine.start_job(job_id, priority)
        return job_id

    def cancel(self, job_id: str) -> None:
        """What the API and its sweeper do."""
        with self.database.writing() as session:
            service.request_cancel(session, job_id)
        self.engine.cancel_job(job_id)

    def open_gate(self, *tasks: str) -> None:
        for task in tasks:
            (self.gates / task).touch()

    def close_gate(self, *tasks: str) -> None:
        for task in tasks:
            (self.gates / task).unlink(missing_ok=True)

    def forget_executions(self) -> None:
        (self.gates / "executions").unlink(missing_ok=True)

    def executions(self, task: str) -> list[dict[str, Any]]:
        """What child processes of this task were begun."""
        path = self.gates / "executions"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["task"] == task]

    def worker_of(self, child: psutil.Process) -> subprocess.Popen[bytes]:
        """The worker that started this step."""
        return next(worker for worker in self.workers if worker.pid == child.ppid())

    def name_of(self, worker: "subprocess.Popen[bytes]") -> str:
        assert isinstance(worker.args, list)
        return str(worker.args[2])

    def children(self) -> list[psutil.Process]:
        """Step processes that are alive."""
        return [process for process in self._processes() if "gated_step" in process.cmdline()]

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def states(self, job_id: str) -> tuple[str, list[str]]:
        """State of the job, states of its variants."""
        with self.database.reading() as session:
            return session.get_one(Job, job_id).state, jobs.variant_states(session, job_id)

    def events(self, job_id: str) -> Sequence[JobEvent]:
        with self.database.reading() as session:
            return jobs.events_after(session, job_id, 0, 1000)

    def rows(self, table: type[Any], *where: Any) -> Sequence[Any]:
        with self.database.reading() as session:
            return session.scalars(select(table).where(*where)).all()

    def worker_state(self, name: str) -> str | None:
        found = self.rows(Worker, Worker.name == name)
        return found[0].state if found else None

    def let_time_pass(self, silent: str) -> None:
        """As if this worker had been silent, and the leader had led, for longer than the time-out."""
        by = timedelta(seconds=2 * TIMEOUT_S)
        with self.database.writing() as session:
            for worker in session.scalars(select(Worker).where(Worker.name == silent, Worker.state == "active")):
                worker.heartbeat_at -= by
            for lease in session.scalars(select(LeaderLease)):
                lease.acquired_at -= by

    def wait_until(self, is_true: Callable[[], Any], what: str) -> Any:
        """Look again and again until it is true; other processes offer nothing to wait on."""
        poll = subprocess.Popen(["sleep", str(DEADLINE_S)])
        try:
            while poll.poll() is None:
                if value := is_true():
                    return value
                with contextlib.suppress(subprocess.TimeoutExpired):
                    poll.wait(0.05)
        finally:
            poll.kill()
            poll.wait()
        logs = "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in self.root.glob("*.log"))
        raise AssertionError(f"{what} did not happen within {DEADLINE_S} s\n{logs}")

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
            assert worker.stdin is not None
            worker.stdin.close()
        for process in list(self._processes()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self.engine.close()
        self.database.dispose()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres_server: Any) -> Iterator[Site]:
    """A store on PostgreSQL of its own, without workers at first; its tests share it in their order."""
    url = postgres_server.create_database()
    upgrade_to_head(url)
    site = Site(tmp_path_factory.mktemp("site"), url)
    yield site
    site.close()
