"""``serve``, ``worker`` and ``demo`` say what is wrong with their surroundings; none ends in a traceback."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgefleet_controller.cli.app import app


@pytest.mark.parametrize("command", ["serve", "worker", "demo"])
@pytest.mark.parametrize("place", ["taken", "taken/below", "/proc/edgefleet"])
def test_a_data_directory_that_cannot_be_written_is_refused_with_a_code(
    tmp_path: Path, command: str, place: str
) -> None:
    (tmp_path / "taken").write_text("a file")
    outcome = CliRunner().invoke(app, [command, "--data-dir", str(tmp_path / place)])
    assert outcome.exit_code == 1
    assert "data_dir_unusable" in outcome.stderr


def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFLEET_PORT", "eighty")
    outcome = CliRunner().invoke(app, ["serve", "--data-dir", str(tmp_path)])
    assert outcome.exit_code == 2
    assert "settings_invalid: port (or EDGEFLEET_PORT)" in outcome.stderr


@pytest.mark.parametrize("concurrency", ["1", "2"])
def test_a_queue_that_nobody_fills_is_refused_however_many_processes_would_serve_it(
    tmp_path: Path, concurrency: str
) -> None:
    arguments = ["worker", "--data-dir", str(tmp_path), "--queues", "cpus", "--concurrency", concurrency]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 2
    assert "worker_options_invalid: unknown queues ['cpus']" in outcome.stderr


def test_the_demo_refuses_a_results_file_that_it_could_not_write_before_it_starts(tmp_path: Path) -> None:
    arguments = ["demo", "--data-dir", str(tmp_path), "--json", str(tmp_path / "missing" / "demo.json")]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 1
    assert "json_file_unwritable" in outcome.stderr
