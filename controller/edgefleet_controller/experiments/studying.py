"""``edgefleet study run``: units in a child process, timings by the agent, then analysis, report and lock file."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.studies.analysis import analyse
from edgefleet_compression.studies.declaration import ScaleName, StudyDeclaration
from edgefleet_compression.studies.lock import Moved, StudyLock, compare_with_lock, make_lock, read_lock
from edgefleet_compression.studies.records import StudyFolder, Timing, UnitRecord, write_whole
from edgefleet_compression.studies.report import render_markdown
from edgefleet_compression.studies.running import read_units
from edgefleet_compression.studies.timing import Stopwatch, medians, read_timings, time_all
from edgefleet_compression.studies.units import units_of
from edgefleet_controller.engine.child_process import ChildLimits, StepFailed, run_child_step
from edgefleet_controller.experiments.files import dumped
from edgefleet_controller.experiments.page import render_page

RUN_FILE = "run.json"
STEP = "edgefleet_deploy.study_step"
STUDY_TIMEOUT_S = 14 * 24 * 3600.0
"""Two weeks: a full study is stopped by its person, not by a clock."""

JsonObject = dict[str, Any]
Say = Callable[[float, str], None]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class StudyRun:
    """One study at one scale, and where and how it is carried out."""

    declaration: StudyDeclaration
    scale: ScaleName
    folder: StudyFolder
    external: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    threads: int = 1
    device: Device = "cpu"

    def check(self) -> None:
        """Raise StudyInvalid for what can be known beforehand: a scale that there is not, data that are not given."""
        known = [scale.name for scale in self.declaration.scales]
        if self.scale not in known:
            raise StudyInvalid(
                f"{self.declaration.name} has no scale {self.scale}: {', '.join(known)}.", code="scale_unknown"
            )
        units_of(self.declaration.scale(self.scale), self.external)


@dataclass(frozen=True)
class Outcome:
    """What a run left: the analysis, its lock, and the records behind both."""

    document: JsonObject
    lock: StudyLock
    records: tuple[UnitRecord, ...]
    timings: tuple[Timing, ...]


def carry_out(run: StudyRun, stopwatch: Stopwatch, say: Say) -> Outcome:
    """Carry out what has no record yet, then write report.md, report.json, report.html and lock.json into the folder.

    Raises StudyInvalid, or StudyInvalid ``study_step_failed`` with what the child said.
    """
    run.check()
    describe(run)
    versions = _units(run, say)
    scale = run.declaration.scale(run.scale)
    records = read_units(units_of(scale, run.external), run.folder)
    time_all(scale, records, run.folder, stopwatch, lambda fraction, message, **_: say(fraction, message))
    return write_report(run, versions)


def describe(run: StudyRun) -> None:
    """Write into the folder what is carried out there, so that a report can be made of an unfinished study."""
    write_whole(run.folder.path / RUN_FILE, dumped(_described(run)))


def _described(run: StudyRun) -> JsonObject:
    scale = run.declaration.scale(run.scale)
    return {
        "declaration": run.declaration.model_copy(update={"scales": (scale,)}).model_dump(mode="json"),
        "scale": run.scale,
        "external": {name: dict(spec) for name, spec in run.external.items()},
        "threads": run.threads,
        "device": run.device,
    }


def read_run(place: Path) -> tuple[StudyRun, Mapping[str, str]]:
    """Return what is carried out in a folder, and the versions of its last lock; StudyInvalid ``folder_not_a_study``."""
    try:
        document = json.loads((place / RUN_FILE).read_text(encoding="utf-8"))
        declaration = StudyDeclaration.model_validate(document.pop("declaration"))
        run = StudyRun(declaration, folder=StudyFolder(place), **document)
        lock = place / "lock.json"
        return run, read_lock(lock).versions if lock.is_file() else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyInvalid(f"{place} is no folder of a study: {error}", code="folder_not_a_study") from error


def write_report(run: StudyRun, versions: Mapping[str, str]) -> Outcome:
    """Write the report of the records that there are: the same records give the same files, byte for byte."""
    scale = run.declaration.scale(run.scale)
    records = read_units(units_of(scale, run.external), run.folder)
    timings = read_timings(scale, records, run.folder)
    conditions = {"threads": run.threads, "device": run.device, "versions": dict(versions)}
    document = analyse(run.declaration, run.scale, records, timings, conditions=conditions)
    lock = make_lock(
        run.declaration,
        run.scale,
        records,
        medians(timings),
        external=run.external,
        threads=run.threads,
        device=run.device,
        versions=versions,
    )
    place = run.folder.path
    write_whole(place / "report.md", render_markdown(document))
    write_whole(place / "report.json", dumped(document))
    write_whole(place / "report.html", render_page(document))
    write_whole(place / "lock.json", dumped(lock.model_dump(mode="json")))
    return Outcome(document, lock, tuple(records), tuple(timings))


def rerun(lock: StudyLock, folder: StudyFolder, stopwatch: Stopwatch, say: Say) -> tuple[Outcome, list[Moved]]:
    """Carry a locked study out again in a folder of its own, and return which figures moved."""
    run = StudyRun(lock.declaration, lock.scale, folder, lock.external, lock.threads, _device(lock.device))
    outcome = carry_out(run, stopwatch, say)
    return outcome, compare_with_lock(lock, outcome.records, medians(outcome.timings))


def _device(name: str) -> Device:
    return "cuda" if name == "cuda" else "auto" if name == "auto" else "cpu"


def _units(run: StudyRun, say: Say) -> Mapping[str, str]:
    """Carry out the units in a child process; return the versions it works with."""
    request = {"task": "carry_out", "folder": str(run.folder.path.absolute()), **_described(run)}
    limits = ChildLimits(timeout_s=STUDY_TIMEOUT_S)
    try:
        result = asyncio.run(
            run_child_step(
                STEP, request, on_event=lambda event: say(event["fraction"], event["message"]), limits=limits
            )
        )
    except StepFailed as error:
        raise StudyInvalid(
            f"The units could not be carried out: {error.message}. What is finished is kept in {run.folder.path}: the same "
            "command goes on from there.",
            code="study_step_failed",
            detail=error.as_json(),
        ) from error
    versions: Mapping[str, str] = result["versions"]
    return versions
