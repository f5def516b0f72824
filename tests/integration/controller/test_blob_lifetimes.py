"""What is collected as garbage and what is not, retention of raw samples, and the quota: nothing in use is ever lost."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import JSON, Column, String, Table, Text, insert
from tests.integration.controller.conftest import Device, Fleet, StartFleet, latency_blob, make_report, sha256_of

from edgefleet_controller.blobs import garbage
from edgefleet_controller.blobs.garbage import Amount, Collected, Rules, collect
from edgefleet_controller.blobs.references import NOT_REFERENCES, find_references, referring_tables, searched_columns
from edgefleet_controller.blobs.repository import touch
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.tables import Base, Blob, Compression, Model

DAY = timedelta(days=1)
RULES = Rules(grace=DAY)
RETENTION = Rules(grace=DAY, sample_retention=30 * DAY)
YEARS_S = 20 * 365 * 86400.0
"""Past every grace and retention by the fleet's clock, which begins in 2026, and by the files' own."""


def run(fleet: Fleet, rules: Rules = RULES, *, dry_run: bool = False) -> Collected:
    return collect(fleet.services.database, fleet.services.blobs, rules, dry_run=dry_run)


def measured_job(fleet: Fleet) -> tuple[Device, str, str]:
    """A measured run; returns the device and the hashes of the artifact and of the raw samples."""
    device, job = fleet.add_device(), fleet.add_job()
    _, artifact = fleet.enqueue(job, device)
    order = device.order()
    assert device.upload(latency_blob()).status_code == 201
    assert device.report(order, make_report(artifact)).status_code == 200
    return device, artifact, sha256_of(latency_blob())


def test_only_what_nothing_names_is_collected_and_only_after_the_grace(each_fleet: Fleet) -> None:
    fleet = each_fleet
    measured_job(fleet)
    in_use = [item.sha256 for item in fleet.services.blobs.stored()]
    lost = fleet.upload(b"nobody registers this")
    assert run(fleet) == Collected(), "within the grace"
    fleet.clock.advance(YEARS_S)
    would = run(fleet, dry_run=True)
    assert would.unreferenced == Amount(1, len(b"nobody registers this"))
    assert fleet.operator.get(f"/v1/blobs/{lost}").status_code == 200, "a dry run removes nothing"
    assert run(fleet) == would
    assert fleet.operator.get(f"/v1/blobs/{lost}").status_code == 404
    assert sorted(item.sha256 for item in fleet.services.blobs.stored()) == sorted(in_use)
    assert run(fleet) == Collected()
    assert fleet.upload(b"nobody registers this") == lost
    assert fleet.operator.get(f"/v1/blobs/{lost}").status_code == 200


def test_every_text_and_json_column_of_every_table_is_looked_through() -> None:
    searched = {f"{table.name}.{column.key}" for table in referring_tables() for column in searched_columns(table)}
    could_name = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, (JSON, String, Text)) and table.name not in NOT_REFERENCES
    }
    assert searched == could_name
    named_by_key = {
        f"{key.parent.table.name}.{key.parent.name}"
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name == "blobs" and table.name not in NOT_REFERENCES
    }
    assert named_by_key <= searched
    assert set(NOT_REFERENCES) == {"blobs", "blob_owners"}


@pytest.fixture
def new_table(fleet: Fleet) -> Iterator[Table]:
    """A table that nobody told the collector about."""
    table = Table("novelties", Base.metadata, Column("id", String, primary_key=True), Column("detail", JSON))
    table.create(fleet.services.database.engine)
    yield table
    Base.metadata.remove(table)


def test_a_new_column_that_names_a_file_keeps_it_without_anybody_thinking_of_it(fleet: Fleet, new_table: Table) -> None:
    kept, lost = fleet.upload(b"named in a new table"), fleet.upload(b"named nowhere")
    with fleet.services.database.writing() as session:
        session.execute(insert(new_table).values(id="x", detail={"deep": [{"file": f"sha256:{kept}"}]}))
    fleet.clock.advance(YEARS_S)
    assert run(fleet).unreferenced.n_files == 1
    assert fleet.services.blobs.exists(kept)
    assert not fleet.services.blobs.exists(lost)


@pytest.mark.parametrize("column", ["blob_sha256", "facts", "data"])
def test_a_model_keeps_its_files(fleet: Fleet, column: str) -> None:
    model, sha256 = fleet.add_model(), fleet.upload(b"a data set")
    with fleet.services.database.writing() as session:
        value: Any = sha256 if column == "blob_sha256" else {"kind": "npz", "sha256": sha256}
        setattr(session.get_one(Model, model["id"]), column, value)
    with fleet.services.database.reading() as session:
        assert find_references(session, {sha256}, None).kept == {sha256}


def test_samples_expire_after_their_retention_and_their_figures_stay(each_fleet: Fleet) -> None:
    fleet = each_fleet
    device, artifact, samples = measured_job(fleet)
    before = fleet.get("/v1/runs")["items"][0]
    fleet.clock.advance(YEARS_S)
    assert run(fleet) == Collected(), "without a retention they stay for ever"
    collected = run(fleet, RETENTION)
    assert collected == Collected(expired=Amount(1, len(latency_blob())))
    answer = fleet.operator.get(f"/v1/blobs/{samples}")
    assert (answer.status_code, answer.json()["code"]) == (410, "samples_expired")
    assert fleet.get("/v1/runs")["items"][0] == before
    assert fleet.operator.get(f"/v1/artifacts/{artifact}").status_code == 200
    assert run(fleet, RETENTION) == Collected()
    assert device.upload(latency_blob()).status_code == 201, "its own samples may come again"
    assert fleet.operator.get(f"/v1/blobs/{samples}").status_code == 200


def test_samples_that_a_younger_result_rests_on_do_not_expire(fleet: Fleet) -> None:
    device, _, samples = measured_job(fleet)
    fleet.clock.advance(YEARS_S)
    assert device.claim().status_code == 204
    job = fleet.add_job()
    _, artifact = fleet.enqueue(job, device, content=b"another artifact")
    order = device.order()
    device.upload(latency_blob())
    assert device.report(order, make_report(artifact)).status_code == 200
    fleet.clock.advance(2 * 86400)
    assert run(fleet, RETENTION).expired == Amount()
    assert fleet.services.blobs.exists(samples)


class Interrupting:
    """A store that does something else at the instant before a file is removed."""

    def __init__(self, blobs: BlobStore, meanwhile: Any) -> None:
        self._blobs, self._meanwhile = blobs, meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    def remove(self, sha256: str, *, unmodified_since: datetime) -> bool:
        self._meanwhile()
        return self._blobs.remove(sha256, unmodified_since=unmodified_since)


def test_a_file_that_is_uploaded_again_at_the_instant_of_its_removal_stays(fleet: Fleet) -> None:
    data = b"uploaded twice"
    sha256, blobs = fleet.upload(data), fleet.services.blobs
    fleet.clock.advance(YEARS_S)
    rules = Rules(grace=timedelta(seconds=(fleet.clock.now() - datetime.now(UTC)).total_seconds() + 60))
    # the bytes were written before the grace began; then another process writes them again
    old = fleet.clock.now() - rules.grace - 30 * DAY
    os.utime(blobs.path(sha256), (old.timestamp(), old.timestamp()))
    store: Any = Interrupting(blobs, lambda: blobs.put_stream([data]))
    assert collect(fleet.services.database, store, rules, dry_run=False) == Collected()
    assert fleet.operator.get(f"/v1/blobs/{sha256}").content == data


@pytest.mark.parametrize("how", ["touched", "referred_to"])
def test_a_file_that_comes_into_use_after_the_search_stays(
    each_fleet: Fleet, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    fleet = each_fleet
    sha256 = fleet.upload(b"used late")
    fleet.clock.advance(YEARS_S)

    def then_use(*arguments: Any) -> Any:
        found = find_references(*arguments)
        with fleet.services.database.writing() as session:
            if how == "touched":
                touch(session, sha256)
            else:
                row = Compression(key_sha256="k" * 64, key={}, candidate_sha256=sha256, result={}, cost_s=1)
                row.created_at = fleet.clock.now()
                session.add(row)
        return found

    monkeypatch.setattr(garbage, "find_references", then_use)
    assert run(fleet) == Collected()
    assert fleet.operator.get(f"/v1/blobs/{sha256}").status_code == 200


def test_a_collector_that_was_killed_between_bytes_and_row_is_made_up_for(fleet: Fleet) -> None:
    sha256 = fleet.upload(b"half removed")
    fleet.services.blobs.path(sha256).unlink()
    fleet.clock.advance(YEARS_S)
    assert run(fleet).unreferenced.n_files == 1
    with fleet.services.database.reading() as session:
        assert session.get(Blob, sha256) is None


def test_files_that_a_killed_process_stored_and_never_noted_are_collected(fleet: Fleet) -> None:
    fleet.services.blobs.put_stream([b"no row"])
    assert run(fleet).unrecorded == Amount(), "it may be noted in a moment"
    fleet.clock.advance(YEARS_S)
    assert run(fleet) == Collected(unrecorded=Amount(1, 6))
    assert list(fleet.services.blobs.stored()) == []


def test_the_sweeper_collects_by_the_settings(start_fleet: StartFleet) -> None:
    fleet = start_fleet(gc_grace_s=600, sample_retention_days=1)
    _, _, samples = measured_job(fleet)
    fleet.clock.advance(YEARS_S)
    fleet.sweeper.collect_garbage()
    assert fleet.operator.get(f"/v1/blobs/{samples}").status_code == 410


def test_at_the_quota_people_are_refused_and_boards_are_not(start_fleet: StartFleet) -> None:
    fleet = start_fleet(quota_bytes=200, quota_reserve_bytes=len(latency_blob()) + 200)
    device, job = fleet.add_device(), fleet.add_job()
    _, artifact = fleet.enqueue(job, device)
    order, known = device.order(), fleet.upload(b"x" * 100)
    too_long, rest = b"y" * 100, b"z" * 40
    for content in (too_long, iter([too_long])):
        answer = fleet.operator.put(f"/v1/blobs/{sha256_of(too_long)}", content=content)
        assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (507, "quota_exceeded", False)
    assert fleet.operator.put(f"/v1/blobs/{sha256_of(rest)}", content=rest).status_code == 201
    assert fleet.operator.put(f"/v1/blobs/{known}", content=b"x" * 100).status_code == 200, "it takes no room"
    assert device.upload(latency_blob()).status_code == 201, "what was measured has a reserve"
    assert device.report(order, make_report(artifact)).status_code == 200
    assert fleet.operator.put(f"/v1/blobs/{sha256_of(b'a')}", content=b"a").json()["code"] == "quota_exceeded"


def test_a_board_that_finds_no_room_keeps_its_samples_and_comes_again(start_fleet: StartFleet) -> None:
    fleet = start_fleet(quota_bytes=100, quota_reserve_bytes=0)
    device, job = fleet.add_device(), fleet.add_job()
    fleet.enqueue(job, device, content=b"artifact" * 11)
    device.order()
    answer = device.upload(latency_blob())
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (507, "quota_exceeded", True)
