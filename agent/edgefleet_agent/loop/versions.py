"""Versions of the agent side by side in the state folder: installed, tried, switched to, and rolled back.

The agent that was set up on the board (by Ansible, or by hand) stays as it is and starts first. It hands over to the
version that ``versions/current`` names, and counts its starts until that version has checked in with the controller: one
that does not in three starts is dropped and the version before it comes back. So nothing of a new version has to work for
the way back to work.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Optional

from pydantic import BaseModel, ConfigDict, ValidationError

from edgefleet_agent.errors import UpdateFailed
from edgefleet_agent.settings import AGENT_VERSION

log = logging.getLogger(__name__)

MAX_STARTS = 3
"""So often a new version may start without checking in."""

CHECK_TIMEOUT_S = 300.0
LAUNCHED = "EDGEFLEET_AGENT_LAUNCHED"
"""Names the version folder that this process was handed over to."""

WHEEL_NAME = re.compile(r"edgefleet_agent-([0-9A-Za-z.+!_]{1,64})-py3-none-any\.whl")
MAIN = "import sys; from edgefleet_agent.cli import main; sys.exit(main())"
CHECKS: Sequence[Sequence[str]] = (("--version",), ("doctor", "--json"))
"""What a new version has to do without an error before it is switched to."""


class Trial(BaseModel):
    """A version that has not checked in yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: str
    previous: Optional[str] = None
    starts: int = 0


class Versions:
    """The folder ``versions`` of a state folder."""

    def __init__(self, state_directory: Path, checks: Sequence[Sequence[str]] = CHECKS) -> None:
        self._folder, self._checks = state_directory / "versions", checks
        self._current, self._trial_file = self._folder / "current", self._folder / "trial.json"

    def current(self) -> Optional[str]:
        """The version that is switched to; None: the agent that was set up on the board."""
        try:
            return self._current.readlink().name
        except FileNotFoundError:
            return None

    def trial(self) -> Optional[Trial]:
        """The version that has not checked in yet."""
        try:
            return Trial.model_validate_json(self._trial_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def install(self, wheel: Path) -> str:
        """Install the wheel beside the present version, try it, and switch to it; returns its version.

        Raises UpdateFailed, and then everything is as it was.
        """
        named = WHEEL_NAME.fullmatch(wheel.name)
        if named is None:
            raise UpdateFailed("{} is no wheel of edgefleet-agent".format(wheel.name))
        version, before = named.group(1), self.current()
        if version in (before, AGENT_VERSION if before is None else None):
            raise UpdateFailed("version {} runs already".format(version))
        target = self._folder / version
        try:
            self._make(target, wheel)
            self._try(target, version)
        except (OSError, UpdateFailed, zipfile.BadZipFile, subprocess.SubprocessError) as err:
            shutil.rmtree(target, ignore_errors=True)
            raise UpdateFailed("version {} was not taken: {}".format(version, err)) from err
        self._write(Trial(version=version, previous=before))
        self._switch(version)
        return version

    def confirm(self) -> None:
        """The running version has checked in: it stays, and only the one before it is kept beside it."""
        trial = self.trial()
        if trial is None or trial.version != running_version(self._folder):
            return
        self._trial_file.unlink()
        log.info("version %s has checked in and stays", trial.version)
        for folder in self._folder.iterdir():
            if folder.is_dir() and not folder.is_symlink() and folder.name not in (trial.version, trial.previous):
                shutil.rmtree(folder, ignore_errors=True)

    def hand_over(self, arguments: Sequence[str]) -> None:
        """Become the current version; returns where that is this process already, or none is switched to."""
        version = self._version_to_start()
        if version is None or running_version(self._folder) == version:
            return
        self._execute(self._folder / version, arguments)

    def _version_to_start(self) -> Optional[str]:
        trial = self.trial()
        if trial is None or trial.version != self.current() or running_version(self._folder) is not None:
            return self.current()
        if trial.starts < MAX_STARTS:
            self._write(trial.model_copy(update={"starts": trial.starts + 1}))
            return trial.version
        log.error("version %s did not check in within %d starts; going back", trial.version, MAX_STARTS)
        self._switch(trial.previous)
        self._trial_file.unlink()
        shutil.rmtree(self._folder / trial.version, ignore_errors=True)
        return trial.previous

    def _execute(self, folder: Path, arguments: Sequence[str]) -> NoReturn:
        python = str(folder / "bin" / "python")
        environment = {**os.environ, LAUNCHED: str(folder)}
        os.execve(python, [python, "-c", MAIN, *arguments], environment)  # noqa: S606  # becomes the other version

    def _make(self, target: Path, wheel: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        venv.create(target, with_pip=False, symlinks=True)
        packages = next((target / "lib").glob("python3*/site-packages"))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not (packages / name).resolve().is_relative_to(packages.resolve()):
                    raise UpdateFailed("the wheel names a file outside of itself: {}".format(name[:200]))
            archive.extractall(packages)
        # a board need not reach a package index: what the agent needs is there already, and its self-test says so if not
        inherited = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        (packages / "edgefleet-inherited.pth").write_text("\n".join(inherited) + "\n", encoding="utf-8")

    def _try(self, target: Path, version: str) -> None:
        python = str(target / "bin" / "python")
        environment = {**os.environ, LAUNCHED: str(target)}
        for arguments in self._checks:
            answer = subprocess.run(
                [python, "-c", MAIN, *arguments],
                capture_output=True,
                text=True,
                timeout=CHECK_TIMEOUT_S,
                check=False,
                env=environment,
            )
            if answer.returncode != 0:
                last = (answer.stderr.strip().splitlines() or ["`edgefleet-agent doctor` says what is wrong"])[-1]
                raise UpdateFailed("its `{}` fails: {}".format(" ".join(arguments), last))
            if arguments == ("--version",) and answer.stdout.split()[-1:] != [version]:
                raise UpdateFailed("it says that it is {}".format(answer.stdout.strip()))

    def _switch(self, version: Optional[str]) -> None:
        draft = self._folder / "current.unfinished"
        draft.unlink(missing_ok=True)
        if version is None:
            self._current.unlink(missing_ok=True)
            return
        draft.symlink_to(version)
        draft.replace(self._current)

    def _write(self, trial: Trial) -> None:
        draft = self._trial_file.with_suffix(".unfinished")
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(json.dumps(trial.model_dump()))
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(self._trial_file)


def running_version(folder: Path) -> Optional[str]:
    """The version of this folder that this process was handed over to; None for the one that was set up on the board."""
    launched = os.environ.get(LAUNCHED)
    return Path(launched).name if launched is not None and Path(launched).parent == folder else None
