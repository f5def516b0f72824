"""Schedules of faults with real processes: each submits a job, breaks something at a random moment, repairs it, and counts."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import text
from tests.benchmarks.fleet_load.documents import JsonObject
from tests.benchmarks.fleet_load.fault_proxy import NetworkFault
from tests.benchmarks.fleet_load.postgres import PostgresServer
from tests.benchmarks.fleet_load.process_fleet import ProcessFleet, StuckError, wait_until

from edgefleet_controller.db.database import Database

ENDED_JOBS = ("completed", "failed", "cancelled")
BREAK_WITHIN_S = 4.0
DISK_BYTES = 32 << 20
N_SLOW = 50
_COUNTS = text(
    "SELECT count(*), sum(CASE WHEN runs.state IN ('queued', 'leased') THEN 1 ELSE 0 END),"
    " sum(CASE WHEN runs.state = 'completed' AND results.run_id IS NULL THEN 1 ELSE 0 END),"
    " sum(CASE WHEN results.run_id IS NOT NULL AND results.attempt <> runs.attempt THEN 1 ELSE 0 END),"
    " count(results.run_id) FROM runs LEFT JOIN results ON results.run_id = runs.id WHERE runs.job_id = :job"
)


@dataclass
class Tally:
    """What the schedules did to the fleet's books."""

    n_schedules: int = 0
    runs_lost: int = 0
    runs_double_counted: int = 0
    stale_writes_accepted: int = 0
    orphan_processes: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    late: int = 0
    """jobs that had not ended within the deadline and did so before the fleet was stopped"""
    problems: list[str] = field(default_factory=list)
    job_states: dict[str, int] = field(default_factory=dict)


class Breaker:
    """The ways to break a fleet, by name; each returns what repairs it."""

    def __init__(self, fleet: ProcessFleet, rng: random.Random, postgres: PostgresServer | None) -> None:
        self._fleet, self._rng, self._postgres = fleet, rng, postgres

    def kinds(self) -> list[str]:
        """All kinds that this machine and back end allow."""
        named = ["api", "worker", "agent", "runner", "network", "slow_connections", "half_open", "stopped_api"]
        return named + (["database"] if self._postgres is not None else []) + (["disk_full"] if can_mount() else [])

    @contextmanager
    def breaking(self, kind: str) -> Iterator[None]:
        """Break it at a random moment, and repair it at the end of the block."""
        time.sleep(self._rng.uniform(0.1, BREAK_WITHIN_S))
        repair: Callable[[], None] = getattr(self, f"_{kind}")()
        try:
            yield
        finally:
            repair()
            self._fleet.revive()

    def _api(self) -> Callable[[], None]:
        assert self._fleet.controller is not None
        self._fleet.controller.kill()
        self._fleet.controller.wait()
        return lambda: None

    def _stopped_api(self) -> Callable[[], None]:
        """A process that hangs for longer than a lease, and then goes on as if nothing had been."""
        assert self._fleet.controller is not None
        pid = self._fleet.controller.pid
        os.kill(pid, signal.SIGSTOP)

        def resume() -> None:
            time.sleep(8)
            os.kill(pid, signal.SIGCONT)

        return resume

    def _worker(self) -> Callable[[], None]:
        self._kill_all("edgefleet_controller", "worker")
        return lambda: None

    def _agent(self) -> Callable[[], None]:
        assert self._fleet.agent is not None
        self._fleet.agent.kill()
        self._fleet.agent.wait()
        wait_until(lambda: not self._fleet.processes("edgefleet_agent.runner"), "the end of the killed agent's runner")
        return lambda: None

    def _runner(self) -> Callable[[], None]:
        with contextlib.suppress(StuckError):
            wait_until(lambda: self._fleet.processes("edgefleet_agent.runner"), "a runner", 20)
        self._kill_all("edgefleet_agent.runner")
        return lambda: None

    def _database(self) -> Callable[[], None]:
        assert self._postgres is not None
        self._postgres.kill()
        time.sleep(self._rng.uniform(0.1, 2.0))
        self._postgres.start()
        return lambda: None

    def _network(self) -> Callable[[], None]:
        self._fleet.proxy.faults = tuple(NetworkFault)
        time.sleep(10)

        def heal() -> None:
            self._fleet.proxy.faults = ()

        return heal

    def _slow_connections(self) -> Callable[[], None]:
        """Clients that send a byte now and then; the others must not notice."""
        head = b"POST /agent/v1/claim HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        return self._hang_on(head)

    def _half_open(self) -> Callable[[], None]:
        """Clients that connect and say nothing."""
        return self._hang_on(b"")

    def _hang_on(self, head: bytes) -> Callable[[], None]:
        connections = [socket.create_connection(("127.0.0.1", self._fleet.port)) for _ in range(N_SLOW)]
        for connection in connections:
            connection.sendall(head)
        time.sleep(3)

        def hang_up() -> None:
            for connection in connections:
                connection.close()

        return hang_up

    def _disk_full(self) -> Callable[[], None]:
        """The disk of the agent's state, or of the controller's files, has no room for some seconds."""
        folder = self._rng.choice([self._fleet.state / "spool", self._fleet.home / "blobs"])
        ballast = folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:  # until there is no room
            while True:
                file.write(bytes(4096))
                file.flush()
        time.sleep(5)
        return lambda: ballast.unlink(missing_ok=True)

    def _kill_all(self, *words: str) -> None:
        for process in self._fleet.processes(*words):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def run_process_schedules(
    root: Path, database_url: str | None, postgres: PostgresServer | None, n_schedules: int, seed: int
) -> Tally:
    """So many schedules over one fleet; every kind comes before any comes twice."""
    tally, rng = Tally(), random.Random(seed)
    fleet = ProcessFleet(root, database_url, seed)
    breaker = Breaker(fleet, rng, postgres)
    open_jobs: dict[str, str] = {}
    with small_disks([fleet.state / "spool", fleet.home / "blobs"]):
        try:
            fleet.prepare()
            for index in range(n_schedules):
                kinds = breaker.kinds()
                kind = kinds[index % len(kinds)]
                job_id = _one_schedule(fleet, breaker, kind, index)
                tally.n_schedules += 1
                tally.kinds[kind] = tally.kinds.get(kind, 0) + 1
                if not _has_ended(fleet, tally, job_id):
                    open_jobs[job_id] = f"schedule {index} ({kind})"
            _wait_for_the_late(fleet, tally, open_jobs)
            tally.orphan_processes = fleet.stop()
        finally:
            fleet.close()
    if not can_mount():
        tally.skipped["disk_full"] = "mounting a small file system is not permitted here"
    return tally


def _one_schedule(fleet: ProcessFleet, breaker: Breaker, kind: str, index: int) -> str:
    recipe = {"name": f"r{index}", "passes": [], "seed": index % 3}
    job_id = fleet.submit(f"schedule-{index}", recipe, seconds=1.5)
    with breaker.breaking(kind):
        pass
    return job_id


def _has_ended(fleet: ProcessFleet, tally: Tally, job_id: str) -> bool:
    try:
        state = wait_until(lambda: _end_of(fleet, job_id), "the end of the job")
    except StuckError:
        return False
    tally.job_states[state] = tally.job_states.get(state, 0) + 1
    _count(fleet, job_id, tally)
    return True


def _wait_for_the_late(fleet: ProcessFleet, tally: Tally, open_jobs: Mapping[str, str]) -> None:
    """Slow is not lost: on a busy host a retry after a fault may take longer than the deadline."""
    for job_id, name in open_jobs.items():
        if _has_ended(fleet, tally, job_id):
            tally.late += 1
            continue
        tally.runs_lost += 1
        events = fleet.ask("GET", f"/v1/jobs/{job_id}/events", params={"wait_s": 0})["items"]
        said = "; ".join(f"{event['created_at']} {event['kind']}: {event['message']}" for event in events)
        tally.problems.append(f"{name} never ended: {said}")


def _end_of(fleet: ProcessFleet, job_id: str) -> str | None:
    state = str(fleet.ask("GET", f"/v1/jobs/{job_id}")["state"])
    return state if state in ENDED_JOBS else None


def _count(fleet: ProcessFleet, job_id: str, tally: Tally) -> None:
    url = fleet.environment.get("EDGEFLEET_DATABASE_URL") or f"sqlite:///{fleet.home / 'edgefleet.db'}"
    database = Database.from_url(url)
    with database.engine.connect() as connection:
        runs, unfinished, without_result, stale, results = connection.execute(_COUNTS, {"job": job_id}).one()
    database.dispose()
    tally.runs_lost += int(runs == 0) + int(unfinished or 0) + int(without_result or 0)
    tally.runs_double_counted += max(0, runs - 1) + max(0, results - runs)
    tally.stale_writes_accepted += int(stale or 0)


def figures_of(tally: Tally) -> JsonObject:
    """The tally as JSON."""
    return dict(vars(tally))


@contextmanager
def small_disks(folders: Sequence[Path]) -> Iterator[None]:
    """File systems of a few megabytes, where mounting is permitted."""
    mounted: list[Path] = []
    try:
        for folder in folders if can_mount() else ():
            folder.mkdir(parents=True, exist_ok=True)
            _mount(folder)
            mounted.append(folder)
        yield
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount() -> bool:
    """Whether this user may mount a tmpfs here; tried once."""
    global _can_mount
    if _can_mount is None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            _can_mount = os.geteuid() == 0 and _mount(Path(folder), check=False)
            if _can_mount:
                subprocess.run(["umount", folder], check=True)
    return _can_mount


_can_mount: bool | None = None


def _mount(folder: Path, *, check: bool = True) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "edgefleet-bench", str(folder)]
    return subprocess.run(command, check=check, stderr=subprocess.DEVNULL).returncode == 0
