"""Moving the store to PostgreSQL, saving it to a file and bringing it back: what was there before is there after."""

import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.integration.conftest import PostgresServer
from tests.integration.controller.conftest import Fleet, StartFleet, latency_blob, make_report

from edgefleet_controller.blobs.local_store import LocalBlobStore
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.migrate import downgrade_to, head_revision
from edgefleet_controller.db.tables import Base, Job, JobEvent
from edgefleet_controller.store import moving
from edgefleet_controller.store.backup import Saved, StorePlaces, back_up
from edgefleet_controller.store.data_files import files_to_save
from edgefleet_controller.store.errors import (
    ArchiveInvalid,
    ArchiveTooNew,
    CopyDiffers,
    RevisionMismatch,
    SourceUnsupported,
    StoreError,
    StoreInUse,
    TargetNotEmpty,
)
from edgefleet_controller.store.locks import data_dir_to_itself
from edgefleet_controller.store.moving import move_store
from edgefleet_controller.store.restoring import restore
from edgefleet_controller.store.rows import write_rows
from edgefleet_controller.store.shapes import declared_shapes

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def finish_a_job(fleet: Fleet) -> dict[str, Any]:
    """A job with one measured run, and one that is still running."""
    device, job = fleet.add_device(), fleet.add_job()
    _, artifact = fleet.enqueue(job, device)
    order = device.order()
    assert device.upload(latency_blob()).status_code == 201
    assert device.report(order, make_report(artifact)).status_code == 200
    with fleet.services.database.writing() as session:
        session.get_one(Job, job["id"]).state = "completed"
        session.add(
            JobEvent(
                job_id=job["id"], kind="note", message="grüße\n'\"\\", detail={"b": 1.0, "a": None}, created_at=NOW
            )
        )
    running = fleet.add_job()
    with fleet.services.database.writing() as session:
        session.get_one(Job, running["id"]).state = "running"
    return job | {"running": running["id"], "samples": hashlib.sha256(latency_blob()).hexdigest()}


def results(fleet: Fleet, job: dict[str, Any]) -> bytes:
    response = fleet.operator.get("/v1/results", params={"job": job["id"]})
    assert response.status_code == 200
    return response.content


def places(fleet: Fleet) -> StorePlaces:
    settings = fleet.services.settings
    return StorePlaces(settings.data_dir, settings.resolved_database_url, fleet.services.blobs)


def begin_again(fleet: Fleet, job_id: str) -> None:
    """The engine, whose own tables are new, is asked for the job that was running."""
    assert fleet.get(f"/v1/jobs/{job_id}")["state"] == "queued"
    fleet.clock.advance(1e6)
    fleet.sweeper.restart_queued_jobs()
    assert job_id in fleet.engine.started


def test_a_moved_store_answers_with_the_same_bytes_and_goes_on_with_its_jobs(
    start_fleet: StartFleet, postgres_server: PostgresServer
) -> None:
    before = start_fleet()
    job = finish_a_job(before)
    expected, target = results(before, job), postgres_server.empty_migrated()
    moved = move_store(before.services.settings.resolved_database_url, target)
    counts = {item.name: item.n_rows for item in moved.tables}
    assert set(counts) == set(Base.metadata.tables)
    assert (counts["runs"], counts["results"], counts["jobs"], moved.n_requeued_jobs) == (1, 1, 2, 1)
    after = start_fleet(database_url=target)
    assert results(after, job) == expected
    events = after.get(f"/v1/jobs/{job['id']}/events")["items"]
    assert events[-1]["message"] == "grüße\n'\"\\"
    assert before.get(f"/v1/jobs/{job['running']}")["state"] == "running", "the source is as it was"
    begin_again(after, job["running"])
    after.add_job()  # numbers of new events go on after the copied ones


def test_a_move_needs_an_empty_target_of_its_own_schema(
    start_fleet: StartFleet, postgres_server: PostgresServer
) -> None:
    fleet = start_fleet()
    fleet.add_model()
    source, target = fleet.services.settings.resolved_database_url, postgres_server.empty_migrated()
    move_store(source, target)
    with pytest.raises(TargetNotEmpty, match="models: 1"):
        move_store(source, target)
    for wrong in ((target, source), (source, source)):
        with pytest.raises(SourceUnsupported):
            move_store(*wrong)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, CopyDiffers])
def test_an_interrupted_move_leaves_the_target_empty_and_can_be_repeated(
    start_fleet: StartFleet,
    postgres_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: type[BaseException],
) -> None:
    fleet = start_fleet()
    job = finish_a_job(fleet)
    source, target = fleet.services.settings.resolved_database_url, postgres_server.empty_migrated()
    copy = moving._copy_table

    def break_at_results(source: Any, connection: Any, shape: Any) -> Any:
        if shape.name == "results":
            raise fault("the test ends it here")
        return copy(source, connection, shape)

    monkeypatch.setattr(moving, "_copy_table", break_at_results)
    with pytest.raises(fault):
        move_store(source, target)
    monkeypatch.undo()
    assert results(fleet, job)
    assert move_store(source, target).n_requeued_jobs == 1


def test_a_row_that_changes_on_its_way_is_noticed(
    start_fleet: StartFleet, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = start_fleet()
    fleet.add_model()
    monkeypatch.setattr(
        moving,
        "write_rows",
        lambda connection, shape, rows: write_rows(connection, shape, [*rows][: shape.name != "models"]),
    )
    with pytest.raises(CopyDiffers, match="models: 1 rows"):
        move_store(fleet.services.settings.resolved_database_url, postgres_server.empty_migrated())


def test_nothing_is_moved_or_restored_beside_a_controller(tmp_path: Path) -> None:
    with data_dir_to_itself(tmp_path), pytest.raises(StoreInUse), data_dir_to_itself(tmp_path):
        pass


def test_a_store_of_another_schema_is_refused(migrated_sqlite: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'old.db')}"
    downgrade_to(url, "0004")
    with pytest.raises(RevisionMismatch, match=f"0004, this program {head_revision()}"):
        back_up(StorePlaces(tmp_path, url, LocalBlobStore(tmp_path / "blobs")), tmp_path / "x.tar", NOW)
    assert not list(tmp_path.glob("x.tar*"))
    with pytest.raises(RevisionMismatch):
        move_store(url, "postgresql://nobody@127.0.0.1:1/none")


def test_every_declared_column_can_be_copied() -> None:
    assert {shape.name for shape in declared_shapes()} == set(Base.metadata.tables)


@pytest.fixture
def other_store_url(tmp_path: Path, store_url: str, postgres_server: PostgresServer) -> str:
    """An empty store on the back end that ``store_url`` is not."""
    if store_url.startswith("sqlite"):
        return postgres_server.empty_migrated()
    return f"sqlite:///{tmp_path / 'back' / 'edgefleet.db'}"


def test_backup_wipe_restore_gives_the_same_bytes_on_either_back_end(
    each_fleet: Fleet, start_fleet: StartFleet, other_store_url: str, tmp_path: Path
) -> None:
    data_dir = each_fleet.services.settings.data_dir
    job = finish_a_job(each_fleet)
    expected = results(each_fleet, job)
    samples = each_fleet.operator.get(f"/v1/blobs/{job['samples']}").content
    (data_dir / "keys").mkdir()
    (data_dir / "keys" / "signing.pem").write_text("a key")
    token = each_fleet.services.operator_token
    saved = back_up(places(each_fleet), tmp_path / "backup.tar", NOW)
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o600
    assert saved.absent_blobs == ()
    each_fleet.services.database.dispose()
    shutil.rmtree(data_dir)

    restored = restore(saved.path, StorePlaces(data_dir, other_store_url, LocalBlobStore(data_dir / "blobs")))
    assert (restored.n_blobs, restored.n_files, restored.n_requeued_jobs) == (saved.n_blobs, saved.n_files, 1)
    after = start_fleet(database_url=other_store_url)
    assert after.services.operator_token == token
    assert results(after, job) == expected
    assert after.operator.get(f"/v1/blobs/{job['samples']}").content == samples
    key = data_dir / "keys" / "signing.pem"
    assert (key.read_text(), stat.S_IMODE(key.stat().st_mode)) == ("a key", 0o600)
    begin_again(after, job["running"])


@pytest.fixture
def saved(fleet: Fleet, tmp_path: Path) -> Saved:
    """A backup of a small store, whose controller goes on."""
    fleet.add_model()
    return back_up(places(fleet), tmp_path / "saved.tar", NOW)


def fresh(root: Path) -> StorePlaces:
    return StorePlaces(root, f"sqlite:///{root / 'edgefleet.db'}", LocalBlobStore(root / "blobs"))


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The backup with members changed, or left out where the change gives None."""
    target = path.with_name("changed.tar")
    with tarfile.open(path) as source, tarfile.open(target, "w") as sink:
        for facts in source:
            file = source.extractfile(facts)
            assert file is not None
            data = change(facts.name, file.read())
            if data is not None:
                facts.size = len(data)
                sink.addfile(facts, io.BytesIO(data))
    return target


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


CHANGES: dict[str, Callable[[str, bytes], bytes | None]] = {
    "a blob with another bit": lambda name, data: flip(data) if name.startswith("blobs/") else data,
    "a row less": lambda name, data: b"" if name == "tables/models.jsonl" else data,
    "no token": lambda name, data: None if name == "files/operator.token" else data,
    "no manifest": lambda name, data: None if name == "manifest.json" else data,
    "a manifest of something else": lambda name, data: b"{}" if name == "manifest.json" else data,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_backup_is_refused_before_anything_is_written(
    saved: Saved, tmp_path: Path, change: Callable[[str, bytes], bytes | None]
) -> None:
    with pytest.raises(ArchiveInvalid):
        restore(rewritten(saved.path, change), fresh(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_backup_that_ends_early_is_refused(saved: Saved, tmp_path: Path) -> None:
    os.truncate(saved.path, saved.path.stat().st_size // 2)
    with pytest.raises(ArchiveInvalid):
        restore(saved.path, fresh(tmp_path / "new"))


@pytest.mark.parametrize("field", ["version", "revision"])
def test_a_backup_of_a_later_program_is_refused(saved: Saved, tmp_path: Path, field: str) -> None:
    def later(name: str, data: bytes) -> bytes:
        if name != "manifest.json":
            return data
        return json.dumps(json.loads(data) | {field: {"version": 99, "revision": "9999"}[field]}).encode()

    with pytest.raises(ArchiveTooNew):
        restore(rewritten(saved.path, later), fresh(tmp_path / "new"))


def test_a_backup_of_a_name_outside_the_data_directory_is_refused(saved: Saved, tmp_path: Path) -> None:
    def outside(name: str, data: bytes) -> bytes:
        return data.replace(b"files/operator.token", b"files/../oooooo.token") if name == "manifest.json" else data

    changed = rewritten(saved.path, outside)
    with tarfile.open(changed) as tar:
        document = tar.extractfile("manifest.json")
        assert document is not None
        assert b"files/../oooooo.token" in document.read()
    with pytest.raises(ArchiveInvalid):
        restore(changed, fresh(tmp_path / "new"))
    assert not (tmp_path / "oooooo.token").exists()


def test_a_restore_needs_an_empty_folder_and_an_empty_database(saved: Saved, tmp_path: Path, fleet: Fleet) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    with pytest.raises(TargetNotEmpty, match="has file"):
        restore(saved.path, fresh(full))
    used = fleet.services.settings.resolved_database_url
    with pytest.raises(TargetNotEmpty, match="models: 1"):
        restore(saved.path, StorePlaces(tmp_path / "new", used, LocalBlobStore(tmp_path / "new" / "blobs")))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["serve.lock"]


def test_a_backup_overwrites_nothing_and_says_what_was_missing(fleet: Fleet, tmp_path: Path) -> None:
    lost, damaged = fleet.upload(b"lost"), fleet.upload(b"damaged")
    fleet.services.blobs.path(lost).unlink()
    fleet.services.blobs.path(damaged).write_bytes(b"DAMAGED")
    path = tmp_path / "saved.tar"
    assert sorted(back_up(places(fleet), path, NOW).absent_blobs) == sorted([lost, damaged])
    with pytest.raises(TargetNotEmpty):
        back_up(places(fleet), path, NOW)
    restore(path, fresh(tmp_path / "new"))
    assert not LocalBlobStore(tmp_path / "new" / "blobs").exists(damaged)


def test_a_file_that_vanishes_while_the_backup_runs_is_left_out(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [*files_to_save(fleet.services.settings.data_dir), ("agent/work/x", tmp_path / "vanished")]
    monkeypatch.setattr("edgefleet_controller.store.backup.files_to_save", lambda _: found)
    assert back_up(places(fleet), tmp_path / "saved.tar", NOW).n_files == len(found) - 1


def test_a_backup_that_finds_no_room_leaves_nothing(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgefleet_controller.store.archive.os.fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        back_up(places(fleet), tmp_path / "saved.tar", NOW)
    assert not list(tmp_path.glob("saved.tar*"))


def test_a_backup_holds_one_moment(each_fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is submitted while the tables are read is either whole in the backup or not at all."""
    from edgefleet_controller.store import backup

    save_table = backup._save_table
    each_fleet.add_device()
    each_fleet.add_model()

    def meanwhile(connection: Any, shape: Any, archive: Any, blobs: Any) -> Any:
        saved = save_table(connection, shape, archive, blobs)
        if shape.name == "models":
            each_fleet.add_job()
        return saved

    monkeypatch.setattr(backup, "_save_table", meanwhile)
    back_up(places(each_fleet), tmp_path / "saved.tar", NOW)
    restore(tmp_path / "saved.tar", fresh(tmp_path / "new"))
    database = Database.from_url(fresh(tmp_path / "new").database_url)
    with database.engine.connect() as connection:
        counts = [connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in ("models", "jobs")]
    database.dispose()
    assert counts == [1, 0]
    assert len(each_fleet.get("/v1/jobs")["items"]) == 1
