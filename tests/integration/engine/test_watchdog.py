"""Who is dead, who leads, what is begun again; by rounds that a test calls, on both back ends."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from edgefleet_controller.clock import SystemClock
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Blob, Job, LeaderLease, Model, Variant, Worker
from edgefleet_controller.workers.presence import WorkerNameTaken, WorkerPresence
from edgefleet_controller.workers.watchdog import Watchdog, WatchRules
from edgefleet_controller.workflows.claims import StepClaims

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
RULES = WatchRules(interval_s=1000.0, timeout_s=6000.0)
"""So long that a test on a busy host never comes near them by itself."""


class RecordingEngine:
    """What the watchdog asked for; ``held`` is what each worker was running."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {}
        self.live: set[str] = set()
        self.taken: list[str] = []
        self.restarted: list[str] = []
        self.purged: list[datetime] = []

    def take_back(self, executor_id: str) -> Sequence[str]:
        tasks = self.held.pop(executor_id, [])
        self.taken.extend(tasks)
        return tasks

    def live_jobs(self, job_ids: Sequence[str]) -> Collection[str]:
        return self.live & set(job_ids)

    def restart_job(self, job_id: str, priority: int, begun_again: int) -> None:
        self.restarted.append(job_id)

    def purge(self, ended_before: datetime) -> int:
        self.purged.append(ended_before)
        return 0


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    database = Database.from_url(store_url)
    yield database
    database.dispose()


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


def watchdog(database: Database, engine: RecordingEngine, holder: str = "me") -> Watchdog:
    return Watchdog(database, engine, SystemClock(), holder=holder, rules=RULES)


def presence(database: Database, name: str) -> WorkerPresence:
    found = WorkerPresence(database, name, ("cpu",), timeout_s=RULES.timeout_s)
    found.register()
    return found


def shift(database: Database, table: type[Any], column: str, **by: float) -> None:
    """Let this instant be longer ago."""
    with database.writing() as session:
        for row in session.query(table):
            setattr(row, column, getattr(row, column) - timedelta(**by))


def state_of(database: Database, name: str) -> str:
    with database.reading() as session:
        return session.get_one(Worker, name).state


def test_a_silent_worker_s_tasks_are_taken_back_once(database: Database, engine: RecordingEngine) -> None:
    silent = presence(database, "a")
    dog = watchdog(database, engine)
    dog.round()
    engine.held["a"] = ["task"]
    shift(database, LeaderLease, "acquired_at", seconds=6001)
    shift(database, Worker, "heartbeat_at", seconds=4000)
    dog.round()
    assert (engine.taken, state_of(database, "a")) == ([], "active")
    shift(database, Worker, "heartbeat_at", seconds=2001)
    dog.round()
    dog.round()
    assert (engine.taken, state_of(database, "a")) == (["task"], "dead")
    assert silent.beat() is False  # it learns that nobody believes in it
    presence(database, "a")
    assert state_of(database, "a") == "active"


def test_nobody_is_dead_for_a_leader_that_has_just_begun(database: Database, engine: RecordingEngine) -> None:
    """When the store was away, everybody was silent, and nobody led either."""
    presence(database, "a")
    shift(database, Worker, "heartbeat_at", seconds=60_000)
    watchdog(database, engine).round()
    assert state_of(database, "a") == "active"


def test_what_a_worker_left_behind_is_taken_back_later(database: Database, engine: RecordingEngine) -> None:
    """A leader may die between burying a worker and taking its tasks; a worker may be ended in the middle of leaving."""
    gone = presence(database, "a")
    gone.leave(engine.take_back)
    engine.held["a"] = ["task"]
    watchdog(database, engine).round()
    assert engine.taken == ["task"]


def test_one_leads_and_another_follows_when_its_lease_is_over(database: Database, engine: RecordingEngine) -> None:
    first, second = watchdog(database, engine, "first"), watchdog(database, engine, "second")
    gone = presence(database, "a")
    gone.leave(engine.take_back)
    first.round()
    engine.held["a"] = ["task"]
    second.round()
    assert engine.taken == []
    shift(database, LeaderLease, "expires_at", seconds=3001)
    second.round()
    assert engine.taken == ["task"]
    engine.held["a"] = ["other"]
    first.round()
    assert engine.taken == ["task"]


def test_a_name_is_taken_over_on_its_own_host_alone(database: Database) -> None:
    first = presence(database, "a")
    second = presence(database, "a")
    assert (first.beat(), second.beat()) == (False, True)
    with database.writing() as session:
        session.execute(update(Worker).values(host="elsewhere"))
    with pytest.raises(WorkerNameTaken, match="lives on elsewhere"):
        presence(database, "a")
    shift(database, Worker, "heartbeat_at", seconds=6001)
    assert presence(database, "a").beat()


def add_job(database: Database, *variants: str, state: str = "running") -> None:
    with database.writing() as session:
        session.add(Blob(sha256="0" * 64, size_bytes=1, media_type="x", created_at=LONG_AGO))
        session.flush()
        session.add(Model(id="m", name="m", format="onnx", blob_sha256="0" * 64, facts={}, created_at=LONG_AGO))
        session.flush()
        session.add(Job(id="j", name="j", model_id="m", state=state, request={}, created_at=LONG_AGO))
        session.flush()
        for ordinal, name in enumerate(variants):
            session.add(
                Variant(
                    id=f"v{ordinal}",
                    job_id="j",
                    ordinal=ordinal,
                    name=str(ordinal),
                    recipe={},
                    recipe_sha256="0" * 64,
                    target="t",
                    state=name,
                )
            )


def job_of(database: Database) -> Job:
    with database.reading() as session:
        return session.get_one(Job, "j")


def test_a_job_without_tasks_is_begun_again_and_fails_when_that_does_not_help(
    database: Database, engine: RecordingEngine
) -> None:
    add_job(database, "compressing", "completed")
    dog = watchdog(database, engine)
    engine.live = {"j"}
    for _ in range(3):
        dog.round()
    assert engine.restarted == []
    engine.live = set()
    dog.round()
    assert engine.restarted == []  # perhaps a task is just being queued: it is looked at twice
    for _ in range(7):
        dog.round()
    assert engine.restarted == ["j"] * 3
    ended = job_of(database)
    assert (ended.state, (ended.error or {})["code"]) == ("cancelling", "work_lost")


def test_a_job_whose_end_was_not_written_is_closed(database: Database, engine: RecordingEngine) -> None:
    add_job(database, "completed", "failed")
    watchdog(database, engine).round()
    assert job_of(database).state == "completed"


def test_old_records_are_deleted_once_an_hour(database: Database, engine: RecordingEngine) -> None:
    dog = watchdog(database, engine)
    before = datetime.now(UTC)
    dog.round()
    dog.round()
    [moment] = engine.purged
    assert before - moment <= timedelta(days=14) <= datetime.now(UTC) - moment + timedelta(hours=1)


async def claimed(claims: StepClaims, variant_id: str) -> bool:
    async with claims.held("k" * 64, variant_id) as is_mine:
        return is_mine


@pytest.mark.parametrize("is_alive", [True, False])
def test_the_same_work_is_done_by_one_live_worker_at_a_time(database: Database, is_alive: bool) -> None:
    import asyncio

    first, second = presence(database, "a"), presence(database, "b")

    async def both() -> tuple[bool, bool]:
        async with StepClaims(database, first.incarnation).held("k" * 64, "v1") as mine:
            if not is_alive:
                presence(database, "a")  # the first one's successor: its claims are void
            return mine, await claimed(StepClaims(database, second.incarnation), "v2")

    assert asyncio.run(both()) == (True, not is_alive)
    assert asyncio.run(claimed(StepClaims(database, second.incarnation), "v2")) is True
