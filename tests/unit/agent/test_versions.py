"""Another version of the agent beside the present one: taken, tried, and dropped when it does not check in."""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgefleet_agent.errors import UpdateFailed
from edgefleet_agent.loop.versions import LAUNCHED, MAX_STARTS, Versions

VERSION_ONLY = (("--version",),)
CLI = """
import os, sys
def main():
    print("edgefleet-agent {says}")
    {extra}
    return {status}
"""


def make_wheel(folder: Path, version: str, *, says: str | None = None, status: int = 0, extra: str = "pass") -> Path:
    """A wheel that answers as the agent does, and does what ``extra`` says."""
    path = folder / f"edgefleet_agent-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("edgefleet_agent/__init__.py", "")
        wheel.writestr("edgefleet_agent/cli/__init__.py", CLI.format(says=says or version, status=status, extra=extra))
    return path


class Launches:
    """Notes what would be started instead of becoming it."""

    def __init__(self, versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[str] = []
        monkeypatch.setattr(versions, "_execute", self.note)
        self._versions = versions

    def note(self, folder: Path, arguments: Sequence[str]) -> None:
        self.started.append(folder.name)

    def start(self) -> None:
        self._versions.hand_over(["run"])


def test_a_version_that_passes_its_checks_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions(tmp_path, VERSION_ONLY)
    assert versions.install(make_wheel(tmp_path, "9.0")) == "9.0"
    launches = Launches(versions, monkeypatch)
    launches.start()
    assert (versions.current(), launches.started) == ("9.0", ["9.0"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"status": 1}, "--version"),
        ({"says": "8.0"}, "says that it is"),
        ({"extra": "import no_such_module_anywhere"}, "no_such_module_anywhere"),
    ],
    ids=["fails", "another version", "lacks a dependency"],
)
def test_a_version_that_fails_its_checks_changes_nothing(
    tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    versions = Versions(tmp_path, VERSION_ONLY)
    with pytest.raises(UpdateFailed, match=reason):
        versions.install(make_wheel(tmp_path, "9.0", **options))  # type: ignore[arg-type]
    assert versions.current() is None
    assert not (tmp_path / "versions" / "9.0").exists()


def test_a_wheel_that_reaches_outside_of_itself_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "9.0")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("../../../../evil.py", "")
    with pytest.raises(UpdateFailed, match="outside"):
        Versions(tmp_path, VERSION_ONLY).install(wheel)


def test_a_version_that_does_not_check_in_is_dropped_after_three_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tmp_path, VERSION_ONLY)
    versions.install(make_wheel(tmp_path, "9.0"))
    launches = Launches(versions, monkeypatch)
    for _ in range(MAX_STARTS + 1):
        launches.start()
    assert launches.started == ["9.0"] * MAX_STARTS
    assert versions.current() is None
    assert versions.trial() is None


def test_a_version_that_checked_in_stays_and_the_next_failure_goes_back_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tmp_path, VERSION_ONLY)
    versions.install(make_wheel(tmp_path, "9.0"))
    with monkeypatch.context() as launched:
        launched.setenv(LAUNCHED, str(tmp_path / "versions" / "9.0"))
        versions.confirm()
        assert versions.trial() is None
        versions.install(make_wheel(tmp_path, "9.1"))
    launches = Launches(versions, monkeypatch)
    for _ in range(MAX_STARTS + 1):
        launches.start()
    assert launches.started == ["9.1"] * MAX_STARTS + ["9.0"]
    assert versions.current() == "9.0"


def test_a_version_installed_beside_is_really_started(tmp_path: Path) -> None:
    versions = Versions(tmp_path, VERSION_ONLY)
    told = "'--version' in sys.argv or print(sys.argv[1:], os.environ['EDGEFLEET_AGENT_LAUNCHED'])"
    versions.install(make_wheel(tmp_path, "9.0", extra=told))
    code = (
        "import pathlib, sys; from edgefleet_agent.loop.versions import Versions; "
        "Versions(pathlib.Path(sys.argv[1])).hand_over(['run', '--once'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["edgefleet-agent 9.0", f"['run', '--once'] {tmp_path}/versions/9.0"]
