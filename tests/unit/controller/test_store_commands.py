"""``edgefleet backup``, ``restore`` and ``store`` as a person calls them: output, exit status, coded refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edgefleet_controller.cli.app import app
from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.store.locks import data_dir_to_itself


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an empty store and a token; a controller makes the same."""
    home = tmp_path_factory.mktemp("made")
    upgrade_to_head(f"sqlite:///{home / 'edgefleet.db'}")
    (home / "operator.token").write_text("eot_x\n")
    return home


@pytest.fixture
def home(made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDGEFLEET_DATABASE_URL", raising=False)
    return Path(shutil.copytree(made_home, tmp_path / "home"))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_backup_into_a_folder_gets_a_name_and_comes_back(home: Path, tmp_path: Path) -> None:
    saved = document(call("backup", tmp_path, "--data-dir", home, "--json"))
    assert Path(saved["path"]).parent == tmp_path
    assert (saved["n_files"], saved["absent_blobs"]) == (1, [])
    again = tmp_path / "again"
    restored = call("restore", saved["path"], "--data-dir", again)
    assert restored.exit_code == 0, restored.output
    assert (again / "operator.token").read_text() == "eot_x\n"
    refused = call("restore", saved["path"], "--data-dir", again)
    assert (refused.exit_code, "target_not_empty" in refused.output) == (1, True)


def test_what_is_no_backup_is_refused_with_a_code(home: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.tar").write_bytes(b"junk" * 1000)
    refused = call("restore", tmp_path / "junk.tar", "--data-dir", tmp_path / "new")
    assert (refused.exit_code, "archive_invalid" in refused.output) == (1, True)


def test_collecting_says_what_it_would_remove(home: Path) -> None:
    collected = document(call("store", "gc", "--dry-run", "--data-dir", home, "--json"))
    assert collected["unreferenced"] == {"n_files": 0, "size_bytes": 0}
    assert collected["dry_run"] is True


def test_a_move_is_refused_beside_a_controller_and_to_another_sqlite_file(home: Path) -> None:
    arguments = ("store", "move", "--data-dir", home, "--to", "sqlite:///elsewhere.db")
    with data_dir_to_itself(home):
        refused = call(*arguments)
    assert (refused.exit_code, "store_in_use" in refused.output) == (1, True)
    refused = call(*arguments)
    assert (refused.exit_code, "source_unsupported" in refused.output) == (1, True)


def test_an_unreachable_target_is_said_without_its_password(home: Path) -> None:
    refused = call("store", "move", "--data-dir", home, "--to", "postgresql://me:secret@127.0.0.1:1/none")
    assert (refused.exit_code, "secret" in refused.output) == (1, False)
    assert "the source is as it was" in refused.output
