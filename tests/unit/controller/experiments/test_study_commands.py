"""``edgefleet study``, as far as it needs no child process, and the page of a report."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.unit.compression.studies.study_examples import CountingExecutor, small_study
from typer.testing import CliRunner

from edgefleet_compression.studies.analysis import analyse
from edgefleet_compression.studies.records import StudyFolder
from edgefleet_compression.studies.running import run_units
from edgefleet_controller.cli.app import app
from edgefleet_controller.experiments.page import render_page
from edgefleet_controller.experiments.plots import Mark, draw_marks
from edgefleet_controller.experiments.studying import StudyRun, read_run, write_report

runner = CliRunner()


def test_names_lists_seven_studies() -> None:
    result = runner.invoke(app, ["study", "names", "--json"])
    assert [item["number"] for item in json.loads(result.stdout)] == [1, 2, 3, 4, 5, 6, 7]


def test_unknown_study_names_those_there_are() -> None:
    result = runner.invoke(app, ["study", "run", "nothing"])
    assert result.exit_code == 1
    assert "study_unknown" in result.stderr
    assert "data-free" in result.stderr


def test_full_scale_says_which_data_it_needs(tmp_path: Path) -> None:
    result = runner.invoke(app, ["study", "run", "data-free", "--scale", "full", "--folder", str(tmp_path / "new")])
    assert result.exit_code == 1
    assert "--data cifar10=FILE.json" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["cifar10", "cifar10=/nowhere.json"])
def test_unreadable_specifications_are_refused(option: str) -> None:
    result = runner.invoke(app, ["study", "run", "data-free", "--scale", "full", "--data", option])
    assert result.exit_code == 2
    assert "data_spec_invalid" in result.stderr


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["study", "report", str(tmp_path)])
    assert result.exit_code == 1
    assert "folder_not_a_study" in result.stderr


def test_a_repetition_in_the_first_folder_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    write_report(run, {"torch": "2.13.0"})
    result = runner.invoke(app, ["study", "rerun", str(tmp_path / "lock.json"), "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert "folder_taken" in result.stderr


def finished_run(path: Path) -> StudyRun:
    run = StudyRun(small_study(), "small", StudyFolder(path))
    run_units(run.declaration.scale("small"), run.folder, CountingExecutor(), external={})
    return run


def test_the_same_records_give_the_same_files(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    names = ("report.md", "report.json", "report.html", "lock.json")
    write_report(run, {"torch": "2.13.0"})
    first = {name: (tmp_path / name).read_bytes() for name in names}
    write_report(run, {"torch": "2.13.0"})
    assert {name: (tmp_path / name).read_bytes() for name in names} == first


def test_a_run_is_described_in_its_folder(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    from edgefleet_controller.experiments.studying import describe

    describe(run)
    found, versions = read_run(tmp_path)
    assert (found, versions) == (run, {})


def test_page_has_plots_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    records = run_units(run.declaration.scale("small"), run.folder, CountingExecutor(), external={})
    study = run.declaration.model_copy(update={"question": "Is <b>this</b> text?"})
    page = render_page(analyse(study, "small", records))
    assert "&lt;b&gt;this" in page
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org", "")


def test_plot_places_points_in_order_and_nothing_without_points() -> None:
    svg = draw_marks([Mark("a", 1.0, 10.0, (9.0, 11.0)), Mark("b", 4.0, 20.0)], x_label="x", y_label="y", log_x=True)
    first, second = (item for item in ElementTree.fromstring(svg).iter() if item.tag == "circle")
    assert float(first.get("cx", 0)) < float(second.get("cx", 0))
    assert float(first.get("cy", 0)) > float(second.get("cy", 0))
    assert draw_marks([], x_label="x", y_label="y") == ""
