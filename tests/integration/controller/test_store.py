"""Migrations and constraints on both back ends."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import Change, Database
from edgefleet_controller.db.migrate import (
    current_revision_of,
    downgrade_to,
    migration_config,
    upgrade_to_head,
)
from edgefleet_controller.db.tables import Blob, Device, Job, Model, Result, Run, Variant
from edgefleet_controller.db.write_watch import WriteWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHA = "0" * 64


def test_an_unmigrated_store_is_not_ready(empty_store_url: str, tmp_path: Any) -> None:
    database = Database.from_url(empty_store_url)
    assert current_revision_of(database.engine) is None
    database.dispose()


def add_run(session: Session, **result: Any) -> None:
    """A run with a result, all of it valid but for what ``result`` changes."""
    session.add(Blob(sha256=SHA, size_bytes=1, media_type="x", created_at=NOW))
    device = Device(id="d", name="d", board="b", kind="physical", state="active", labels={}, created_at=NOW, version=1)
    session.add(device)
    session.flush()
    session.add(Model(id="m", name="m", format="onnx", blob_sha256=SHA, facts={}, created_at=NOW))
    session.flush()
    session.add(Job(id="j", name="j", model_id="m", state="running", request={}, created_at=NOW))
    session.flush()
    variant = Variant(id="v", job_id="j", ordinal=0, name="v", recipe={}, recipe_sha256=SHA, target="t", state="queued")
    session.add(variant)
    session.flush()
    session.add(Run(id="r", job_id="j", variant_id="v", device_id="d", state="completed", order={}, created_at=NOW))
    session.flush()
    values: dict[str, Any] = {
        "run_id": "r",
        "attempt": 1,
        "job_id": "j",
        "report": {},
        "report_sha256": SHA,
        "provenance": "measured",
        "verdict": "valid",
        "energy_mj": None,
        "energy_reason": "no_sensor",
        "created_at": NOW,
    }
    session.add(Result(**values | result))
    session.flush()


@pytest.mark.parametrize(
    ("result", "constraint"),
    [
        ({"provenance": "guessed"}, "provenance"),
        ({"verdict": "fine"}, "verdict"),
        ({"energy_reason": None}, "energy_has_reason"),
        ({"energy_mj": 1.0}, "energy_has_reason"),
    ],
)
def test_the_store_itself_refuses_figures_without_their_conditions(
    store_url: str, result: dict[str, Any], constraint: str
) -> None:
    database = Database.from_url(store_url)
    with pytest.raises(IntegrityError, match=constraint), database.writing() as session:
        add_run(session, **result)
    database.dispose()


def test_measured_energy_needs_no_reason(store_url: str) -> None:
    database = Database.from_url(store_url)
    with database.writing() as session:
        add_run(session, energy_mj=1.0, energy_reason=None)
    database.dispose()


def test_the_store_itself_refuses_two_leases_of_one_device(store_url: str) -> None:
    database = Database.from_url(store_url)

    def lease_twice() -> None:
        with database.writing() as session:
            add_run(session)
            other = Variant(
                id="v2", job_id="j", ordinal=1, name="v2", recipe={}, recipe_sha256=SHA, target="t", state="queued"
            )
            session.add(other)
            session.flush()
            session.get_one(Run, "r").state = "leased"
            session.add(
                Run(id="r2", job_id="j", variant_id="v2", device_id="d", state="leased", order={}, created_at=NOW)
            )

    with pytest.raises(IntegrityError):
        lease_twice()
    database.dispose()


def test_a_failed_block_leaves_nothing_and_announces_nothing(store_url: str) -> None:
    database = Database.from_url(store_url)
    heard: list[Change] = []
    database.subscribe(heard.append)

    def fail() -> None:
        with database.writing() as session:
            session.add(Blob(sha256=SHA, size_bytes=1, media_type="x", created_at=NOW))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.reading() as session:
        assert session.get(Blob, SHA) is None
    assert heard == []
    database.dispose()


def test_times_come_back_aware_in_utc(store_url: str) -> None:
    database = Database.from_url(store_url)
    elsewhere = (NOW + timedelta(hours=2)).astimezone()
    with database.writing() as session:
        session.add(Blob(sha256=SHA, size_bytes=1, media_type="x", created_at=elsewhere))
    with database.reading() as session:
        stored = session.get_one(Blob, SHA).created_at
    assert (stored, stored.utcoffset()) == (elsewhere, timedelta(0))
    database.dispose()


def test_a_naive_time_is_refused(store_url: str) -> None:
    database = Database.from_url(store_url)
    with pytest.raises(StatementError, match="naive"), database.writing() as session:
        session.add(Blob(sha256=SHA, size_bytes=1, media_type="x", created_at=NOW.replace(tzinfo=None)))
    database.dispose()


def test_sqlite_keeps_its_promises(tmp_path: Any) -> None:
    database = Database.from_url(f"sqlite:///{tmp_path / 'x.db'}")
    with database.engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1}
    database.dispose()


ROWS_OF_0001 = (
    "INSERT INTO blobs (sha256, size_bytes, media_type, created_at) VALUES ('s', 1, 'x', '2026-01-01 00:00:00')",
    "INSERT INTO devices (id, name, board, kind, state, labels, created_at, version)"
    " VALUES ('d', 'd', 'b', 'physical', 'active', '{}', '2026-01-01 00:00:00', 1)",
    "INSERT INTO models (id, name, format, blob_sha256, facts, created_at)"
    " VALUES ('m', 'm', 'onnx', 's', '{}', '2026-01-01 00:00:00')",
    "INSERT INTO jobs (id, name, model_id, state, request, progress, message, created_at, version)"
    " VALUES ('j', 'j', 'm', 'running', '{}', 0, '', '2026-01-01 00:00:00', 1)",
    "INSERT INTO variants (id, job_id, ordinal, name, recipe, recipe_sha256, target, state)"
    " VALUES ('v', 'j', 0, 'v', '{}', 's', 't', 'dispatched')",
    'INSERT INTO runs (id, job_id, variant_id, device_id, state, attempt, priority, "order", cancel_requested, created_at)'
    " VALUES ('r', 'j', 'v', 'd', 'leased', 1, 100, '{}', false, '2026-01-01 00:00:00')",
    "INSERT INTO results (run_id, attempt, job_id, report, report_sha256, provenance, verdict, energy_reason, created_at)"
    " VALUES ('r', 1, 'j', '{}', 's', 'measured', 'valid', 'no_sensor', '2026-01-01 00:00:00')",
)
"""A job with a leased run and its result, as the first schema stores them."""

ROWS_OF_0002 = (
    "INSERT INTO comparisons (id, name, kind, a_sha256, b_sha256, request, created_at) VALUES ('c', 'c', 'aa', 's', 's', '{}', '2026-01-01 00:00:00')",
    'INSERT INTO runs (id, kind, comparison_id, device_id, state, attempt, priority, "order", cancel_requested,'
    " created_at) VALUES ('rc', 'aa', 'c', 'd', 'completed', 1, 100, '{}', false, '2026-01-01 00:00:00')",
    "INSERT INTO results (run_id, attempt, report, report_sha256, provenance, verdict, energy_reason, created_at)"
    " VALUES ('rc', 1, '{}', 's', 'measured', 'valid', 'not_measured', '2026-01-01 00:00:00')",
    "INSERT INTO comparison_results (run_id, comparison_id, kind, n_comparisons, n_false_positives)"
    " VALUES ('rc', 'c', 'aa', 20, 1)",
    'INSERT INTO runs (id, settings_ordinal, job_id, variant_id, device_id, state, attempt, priority, "order",'
    " cancel_requested, created_at)"
    " VALUES ('r1', 1, 'j', 'v', 'd', 'queued', 0, 100, '{}', false, '2026-01-01 00:00:00')",
)
"""A comparison with its result, and a second run of the variant with other settings."""


def execute_all(url: str, statements: tuple[str, ...]) -> None:
    database = Database.from_url(url)
    try:
        with database.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        database.dispose()


def column(url: str, query: str) -> list[Any]:
    database = Database.from_url(url)
    with database.engine.connect() as connection:
        found = list(connection.execute(text(query)).scalars())
    database.dispose()
    return found


def revisions() -> list[str]:
    """All revisions, oldest first; the chain has no branches."""
    script = ScriptDirectory.from_config(migration_config(""))
    assert len(script.get_heads()) == 1
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def test_every_revision_goes_up_and_down_by_itself_and_keeps_what_older_controllers_stored(
    empty_store_url: str,
) -> None:
    """Each revision's way up and its way down run alone over the rows of the first two, then all of them at once."""
    config, chain = migration_config(empty_store_url), revisions()
    rows = {"0001": ROWS_OF_0001, "0002": ROWS_OF_0002}
    for revision in chain:
        command.upgrade(config, revision)
        execute_all(empty_store_url, rows.get(revision, ()))
        assert column(empty_store_url, "SELECT version_num FROM alembic_version") == [revision]
    assert column(empty_store_url, "SELECT kind FROM runs WHERE id = 'r'") == ["measure"]
    command.check(config)  # what the migrations make is what the tables declare
    for revision in reversed(chain[:-1]):
        command.downgrade(config, revision)
    assert column(empty_store_url, "SELECT id FROM runs") == ["r"], "0001 knows no comparisons and no sweeps"
    assert column(empty_store_url, "SELECT run_id FROM results") == ["r"]
    upgrade_to_head(empty_store_url)
    upgrade_to_head(empty_store_url)
    assert column(empty_store_url, "SELECT verdict FROM results") == ["valid"]
    command.check(config)
    downgrade_to(empty_store_url, "base")
    database = Database.from_url(empty_store_url)
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    database.dispose()


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE runs SET comparison_id = 'c'", "has_one_owner"),
        ("UPDATE runs SET kind = 'ab'", "has_one_owner"),
        ("UPDATE runs SET state = 'lost'", "ck_runs_state"),
        ("UPDATE results SET verdict = 'fine'", "ck_results_verdict"),
        ("UPDATE comparison_results SET n_false_positives = 21", "no_more_false_than_made"),
        ("UPDATE comparison_results SET kind = 'ab'", "ck_comparison_results"),
    ],
)
def test_the_altered_tables_keep_their_constraints(store_url: str, statement: str, constraint: str) -> None:
    execute_all(store_url, (*ROWS_OF_0001, *ROWS_OF_0002[:4]))
    with pytest.raises(IntegrityError, match=constraint):
        execute_all(store_url, (statement,))


def test_the_device_s_one_lease_survives_the_migration(store_url: str) -> None:
    execute_all(store_url, (*ROWS_OF_0001, *ROWS_OF_0002))
    with pytest.raises(IntegrityError):
        execute_all(store_url, ("UPDATE runs SET state = 'leased' WHERE id = 'r1'",))


def test_the_mark_of_the_store_changes_with_every_commit_and_stays_otherwise(store_url: str) -> None:
    database, other = Database.from_url(store_url), Database.from_url(store_url)
    watch = WriteWatch(database.engine)
    try:
        first = watch.mark()

        def is_unmoved_by_a_reader() -> bool:
            before = watch.mark()
            with other.reading() as session:
                session.execute(text("SELECT count(*) FROM devices"))
            return watch.mark() == before

        assert any(is_unmoved_by_a_reader() for _ in range(50))  # PostgreSQL's own vacuum writes now and then
        for number, writer in enumerate((database, other)):
            before = watch.mark()
            with writer.writing() as session:
                session.add(Blob(sha256=f"{number:064x}", size_bytes=1, media_type="x", created_at=NOW))
                session.flush()
            assert watch.mark() != before
        watch.close()
        assert watch.mark() != first  # after a new connection nothing is known
    finally:
        watch.close()
        database.dispose()
        other.dispose()


def test_a_transaction_that_began_before_the_look_changes_the_mark_when_it_commits(store_url: str) -> None:
    database = Database.from_url(store_url)
    watch = WriteWatch(database.engine)
    try:
        with database.writing() as session:
            session.add(Blob(sha256=SHA, size_bytes=1, media_type="x", created_at=NOW))
            session.flush()
            during = watch.mark()
        assert watch.mark() != during
    finally:
        watch.close()
        database.dispose()
