"""Units, records, resumption, analysis and lock, with an executor that needs no torch."""

import json
from pathlib import Path

import pytest
from tests.unit.compression.studies.study_examples import CountingExecutor, small_study

from edgefleet_compression.errors import DataInvalid, StudyInvalid
from edgefleet_compression.passes.specs import Quantize
from edgefleet_compression.studies.analysis import analyse
from edgefleet_compression.studies.lock import StudyLock, compare_with_lock, make_lock, read_lock
from edgefleet_compression.studies.records import StudyFolder, UnitRecord
from edgefleet_compression.studies.report import render_markdown, render_summary
from edgefleet_compression.studies.running import run_units
from edgefleet_compression.studies.units import Unit, units_of

STUDY = small_study()
SCALE = STUDY.scale("small")


def carried_out(path: Path, executor: CountingExecutor) -> "list[UnitRecord]":
    return run_units(SCALE, StudyFolder(path), executor, external={})


def report_of(records: "list[UnitRecord]") -> str:
    still = [record.model_copy(update={"cost_s": 1.0}) for record in records]  # wall time alone differs between runs
    return render_markdown(analyse(STUDY, "small", still))


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_report(tmp_path: Path) -> None:
    whole = carried_out(tmp_path / "whole", CountingExecutor())
    stopped, resumed = CountingExecutor(stop_after=5), CountingExecutor()
    with pytest.raises(KeyboardInterrupt):
        carried_out(tmp_path / "stopped", stopped)
    records = carried_out(tmp_path / "stopped", resumed)
    assert len(stopped.done) == 5
    assert len(resumed.done) == 7
    assert report_of(records) == report_of(whole)


def test_a_half_written_record_counts_for_nothing(tmp_path: Path) -> None:
    first = units_of(SCALE, {})[0]
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f".{first.key}.json.1.partial").write_text('{"key"')
    assert len(carried_out(tmp_path, CountingExecutor())) == 12


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    first = units_of(SCALE, {})[0]
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{first.key}.json").write_text("{")
    with pytest.raises(StudyInvalid, match=first.key) as caught:
        carried_out(tmp_path, CountingExecutor())
    assert caught.value.code == "record_damaged"


def test_clear_difference_is_supported_and_its_test_corrected(tmp_path: Path) -> None:
    document = analyse(STUDY, "small", carried_out(tmp_path, CountingExecutor()))
    assert document["verdict"] == "supported"
    claim = document["claims"][0]
    assert claim["value"] == pytest.approx(16.0)  # 95 + mean of 0, 0.4, ..., 2.0 against 80
    assert claim["low"] > 5.0
    assert document["comparisons"][0]["p_holm"] == document["comparisons"][0]["p_t"] < 1e-4
    assert "SUPPORTED" in render_summary(document)
    json.dumps(document, allow_nan=False)


def test_failed_units_are_told_and_leave_the_verdict_open(tmp_path: Path) -> None:
    document = analyse(STUDY, "small", carried_out(tmp_path, CountingExecutor(refused=("narrow",))))
    assert document["verdict"] == "undecided"
    assert {row["code"] for row in document["failures"]} == {"nothing_to_prune"}
    assert document["n_finished"] == 6
    assert "nothing_to_prune" in render_markdown(document)


def test_unreadable_data_end_the_run_and_fail_no_unit(tmp_path: Path) -> None:
    class WithoutData(CountingExecutor):
        def carry_out(self, unit: Unit, folder: StudyFolder) -> UnitRecord:
            raise DataInvalid("There is no data file.", code="data_missing")

    with pytest.raises(DataInvalid):
        carried_out(tmp_path, WithoutData())
    assert not (tmp_path / "records").exists()


def test_a_partial_study_reports_without_a_verdict(tmp_path: Path) -> None:
    records = carried_out(tmp_path, CountingExecutor())
    document = analyse(STUDY, "small", [record for record in records if record.seed < 5 or record.arm == "int8"])
    assert document["verdict"] == "undecided"
    assert render_markdown(document)


def test_data_that_the_scale_leaves_open_have_to_be_given() -> None:
    scale = small_study(external=True).scale("small")
    with pytest.raises(StudyInvalid, match="--data digits=") as caught:
        units_of(scale, {})
    assert caught.value.code == "study_data_missing"
    given = units_of(scale, {"digits": {"kind": "packaged", "name": "digits"}})
    assert [unit.key for unit in given] == [unit.key for unit in units_of(SCALE, {})]


def lock_of(path: Path, executor: CountingExecutor) -> "tuple[StudyLock, list[UnitRecord]]":
    records = carried_out(path, executor)
    lock = make_lock(STUDY, "small", records, {}, external={}, threads=1, device="cpu", versions={"torch": "2.13.0"})
    return lock, records


def test_a_repetition_with_the_same_figures_moves_nothing(tmp_path: Path) -> None:
    lock, _ = lock_of(tmp_path / "first", CountingExecutor())
    assert compare_with_lock(lock, carried_out(tmp_path / "again", CountingExecutor()), {}) == []


@pytest.mark.parametrize(("shift", "within"), [(0.015, True), (-0.015, True), (0.03, False)])
def test_accuracy_may_move_by_two_percent(tmp_path: Path, shift: float, within: bool) -> None:
    """Of 0.80 or more: 0.015 lies within 2 %, 0.03 beyond."""
    lock, _ = lock_of(tmp_path / "first", CountingExecutor())
    moved = compare_with_lock(lock, carried_out(tmp_path / "again", CountingExecutor(shift=shift)), {})
    assert len(moved) == 12
    assert {item.within_tolerance for item in moved} == {within}


def test_a_unit_that_fails_in_the_repetition_has_moved(tmp_path: Path) -> None:
    lock, _ = lock_of(tmp_path / "first", CountingExecutor())
    moved = compare_with_lock(lock, carried_out(tmp_path / "again", CountingExecutor(refused=("int8",))), {})
    assert [(item.found, item.within_tolerance) for item in moved] == [(None, False)] * 6


def test_latency_may_move_by_ten_percent(tmp_path: Path) -> None:
    records = carried_out(tmp_path, CountingExecutor())
    sha256 = records[0].figures.sha256 if records[0].figures else ""
    shared = {"external": {}, "threads": 1, "device": "cpu", "versions": {}}
    lock = make_lock(STUDY, "small", records, {(sha256, "this-host"): 1.0}, **shared)  # type: ignore[arg-type]
    assert compare_with_lock(lock, records, {(sha256, "this-host"): 1.09})[0].within_tolerance
    assert not compare_with_lock(lock, records, {(sha256, "this-host"): 1.2})[0].within_tolerance


def test_lock_file_is_read_back_and_an_edited_one_refused(tmp_path: Path) -> None:
    lock, _ = lock_of(tmp_path, CountingExecutor())
    path = tmp_path / "lock.json"
    path.write_text(lock.model_dump_json())
    assert read_lock(path) == lock
    path.write_text(lock.model_dump_json().replace("5 points ahead", "1 point ahead"))
    with pytest.raises(StudyInvalid) as caught:
        read_lock(path)
    assert caught.value.code == "lock_edited"
    path.write_text("{}")
    with pytest.raises(StudyInvalid) as caught:
        read_lock(path)
    assert caught.value.code == "lock_invalid"


def test_sensitivity_is_the_change_against_the_arm_that_is_varied(tmp_path: Path) -> None:
    """0.95 + 0.004 seed, lowered by 3 %: within 5 %; by 20 % on half the data: beyond 15 %."""
    base = SCALE.arms[0]
    varied = [
        base.model_copy(
            update={
                "name": name,
                "role": "sensitivity",
                "family": "sensitivity of int8",
                "recipe": base.recipe.model_copy(update={"passes": (Quantize(rounding_steps=steps),)}),
                "factors": {"level": level, "changed": name},
                "train_share": share,
                "seeds": (0,),
            }
        )
        for name, level, share, steps in (("near", 0.95 * 0.97, 1.0, 400), ("far", 0.95 * 0.8, 0.5, 600))
    ]
    scale = SCALE.model_copy(update={"arms": (*SCALE.arms, *varied)})
    records = run_units(scale, StudyFolder(tmp_path), CountingExecutor(), external={})
    study = STUDY.model_copy(update={"scales": (scale,)})
    near, far = analyse(study, "small", records)["sensitivity"]
    assert (near["relative_change"], near["is_within"]) == (pytest.approx(-0.03, abs=1e-6), True)
    assert (far["relative_change"], far["is_within"]) == (pytest.approx(-0.2, abs=1e-6), False)
    assert "**beyond**" in render_markdown(analyse(study, "small", records))
