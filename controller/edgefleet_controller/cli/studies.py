"""``edgefleet study``: the declared studies, carried out on this machine. No controller is needed for them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import EXIT_USAGE, console, error_console, fail, print_json, print_table
from edgefleet_controller.cli.session import JsonOption

if TYPE_CHECKING:
    from edgefleet_controller.experiments.studying import Outcome

study_app = typer.Typer(no_args_is_help=True, help="Studies: declared experiments, and searches on the fleet.")

FolderOption = Annotated[
    Path | None, typer.Option(help="Where the study keeps its work and goes on from; default: studies/NAME-SCALE here.")
]
ThreadsOption = Annotated[int, typer.Option(min=1, max=256, help="Threads of torch and of the runtime.")]


NAME_COLUMNS = (Column("number"), Column("name"), Column("question"), Column("cost", "cost at scale small"))


@study_app.command("names")
def list_names(json_output: JsonOption = False, csv_output: CsvOption = False) -> None:
    """List the declared studies with what each asks."""
    from edgefleet_compression.studies.registry import STUDIES

    rows = [
        study.model_dump(mode="json", exclude={"scales"}) | {"cost": study.scale("small").expected}
        for study in STUDIES.values()
    ]
    print_list(rows, NAME_COLUMNS, json_output=json_output, csv_output=csv_output)


@study_app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="Name or number of a study, see 'edgefleet study names'.")],
    scale: Annotated[
        Literal["small", "full"], typer.Option(help="small: minutes of a CPU; full: hours of a GPU.")
    ] = "small",
    folder: FolderOption = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE.json: specification of a data set that the scale leaves open; may be repeated."),
    ] = None,
    threads: ThreadsOption = 1,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where trainings run.")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Carry a study out, or go on with it; writes report.md, report.json, report.html and lock.json into the folder."""
    from edgefleet_compression.studies.records import StudyFolder
    from edgefleet_compression.studies.registry import find_study
    from edgefleet_controller.experiments.stopwatch import AgentStopwatch
    from edgefleet_controller.experiments.studying import StudyRun, carry_out

    with _reported():
        declaration = find_study(name)
        place = folder or Path("studies") / f"{declaration.name}-{scale}"
        study = StudyRun(declaration, scale, StudyFolder(place), _external(data or []), threads, device)
        outcome = carry_out(study, AgentStopwatch(), _progress)
    _show(outcome, place, as_json=as_json)


@study_app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a study that was run, finished or not.")],
    as_json: JsonOption = False,
) -> None:
    """Write the report of what a study's folder holds; nothing is carried out."""
    from edgefleet_controller.experiments.studying import read_run, write_report

    with _reported():
        study, versions = read_run(folder)
        outcome = write_report(study, versions)
    _show(outcome, folder, as_json=as_json)


@study_app.command("rerun")
def rerun(
    lock: Annotated[Path, typer.Argument(help="lock.json of a study.")],
    folder: Annotated[Path, typer.Option(help="A folder for the repetition; not the first run's.")],
    as_json: JsonOption = False,
) -> None:
    """Repeat a study from its lock file and say which figures moved; exit status 1 if one moved beyond its tolerance."""
    from edgefleet_compression.studies.lock import read_lock
    from edgefleet_compression.studies.records import StudyFolder
    from edgefleet_controller.experiments.stopwatch import AgentStopwatch
    from edgefleet_controller.experiments.studying import rerun as repeat

    with _reported():
        locked = read_lock(lock)
        if folder.resolve() == lock.resolve().parent:
            fail("folder_taken", "a repetition needs a folder of its own, or it would find the first run's results")
        _, moved = repeat(locked, StudyFolder(folder), AgentStopwatch(), _progress)
    beyond = [item for item in moved if not item.within_tolerance]
    if as_json:
        print_json({"n_units": len(locked.units), "moved": [item.model_dump(mode="json") for item in moved]})
    else:
        print_table(
            ("arm", "seed", "figure", "locked", "found", "within tolerance"),
            [(m.arm, m.seed, m.figure, m.locked, m.found, "yes" if m.within_tolerance else "NO") for m in moved],
        )
        console.print(
            f"{len(locked.units)} units repeated, {len(moved)} figures moved, {len(beyond)} beyond tolerance."
        )
    if beyond:
        raise typer.Exit(1)


def _external(given: list[str]) -> dict[str, dict[str, Any]]:
    """Return the specifications that NAME=FILE.json options name."""
    found: dict[str, dict[str, Any]] = {}
    for option in given:
        name, _, path = option.partition("=")
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            fail("data_spec_invalid", f"--data {option}: {error}; give NAME=FILE.json", status=EXIT_USAGE)
        if not isinstance(document, dict):
            fail("data_spec_invalid", f"--data {option}: the file holds no JSON object", status=EXIT_USAGE)
        found[name] = document
    return found


def _show(outcome: "Outcome", place: Path, *, as_json: bool) -> None:
    from edgefleet_compression.studies.report import render_summary

    if as_json:
        print_json(outcome.document)
        return
    console.print(render_summary(outcome.document), markup=False)
    console.print(f"{place / 'report.md'}, report.html, report.json, lock.json", markup=False)


def _progress(fraction: float, message: str) -> None:
    if sys.stderr.isatty():
        error_console.print(f"{100 * fraction:5.1f} % {message}", markup=False)


@contextmanager
def _reported() -> Iterator[None]:
    from edgefleet_compression.errors import StudyInvalid

    try:
        yield
    except StudyInvalid as error:
        fail(error.code, error.message)
