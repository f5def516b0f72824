"""``edgefleet search``, and of ``edgefleet study`` what concerns searches on the fleet."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edgefleet_controller.cli import job_options as options
from edgefleet_controller.cli import search_options as wanted
from edgefleet_controller.cli.listing import Column, CsvOption, percent, print_list
from edgefleet_controller.cli.output import EXIT_FAILED, EXIT_USAGE, console, fail, print_json, reported_errors
from edgefleet_controller.cli.progress import JobProgress
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.cli.studies import study_app
from edgefleet_controller.cli.study_table import print_report, trial_columns
from edgefleet_controller.client import Client

JsonObject = dict[str, Any]
StudyArgument = Annotated[str, typer.Argument(help="Identifier of the study.")]
COLUMNS = (
    Column("id"),
    Column("name"),
    Column("state"),
    Column("stage"),
    Column("progress", show=percent),
    Column("created_at", "submitted"),
)
EVENT_COLUMNS = (Column("created_at", "at"), Column("kind"), Column("message"))
SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 1000_000, "GB": 1000_000_000}


def search(
    model: Annotated[str, typer.Argument(help="Name or identifier of a model, or a file, which is registered first.")],
    data: wanted.DataOption = None,
    target: options.TargetsOption = None,
    device: options.DevicesOption = None,
    match_label: options.MatchLabelOption = None,
    match_board: options.MatchBoardOption = None,
    needs_sensor: options.NeedsSensorOption = False,
    objective: wanted.ObjectiveOption = None,
    constraint: wanted.ConstraintOption = None,
    max_latency_p50_ms: wanted.MaxLatencyP50MsOption = None,
    max_latency_p90_ms: wanted.MaxLatencyP90MsOption = None,
    max_size: wanted.MaxSizeOption = None,
    max_energy_mj: wanted.MaxEnergyMjOption = None,
    min_retention: wanted.MinRetentionOption = None,
    min_accuracy: wanted.MinAccuracyOption = None,
    goal: wanted.GoalOption = None,
    trials: wanted.TrialsOption = 30,
    batch: wanted.BatchOption = None,
    order: wanted.OrderOption = "fixed",
    sampler: wanted.SamplerOption = "tpe",
    seed: wanted.SeedOption = 0,
    technique: wanted.TechniqueOption = None,
    max_epochs: wanted.MaxEpochsOption = 4,
    space: wanted.SpaceOption = None,
    no_reuse: wanted.NoReuseOption = False,
    seconds: options.SecondsOption = None,
    threads: wanted.ThreadsOption = None,
    finalists: wanted.FinalistsOption = 4,
    rounds: wanted.RoundsOption = 3,
    no_compare: wanted.NoCompareOption = False,
    priority: options.PriorityOption = None,
    compute: options.ComputeOption = None,
    deadline: options.DeadlineOption = None,
    name: wanted.NameOption = None,
    watch_it: wanted.WatchItOption = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Search for the recipes that are best on each kind of board and keep the constraints, by measuring there."""
    bounds = [
        ("latency_p50_ms<=", max_latency_p50_ms),
        ("latency_p90_ms<=", max_latency_p90_ms),
        ("size_bytes<=", None if max_size is None else read_size(max_size)),
        ("energy_mj<=", max_energy_mj),
        ("retention>=", min_retention),
        ("accuracy>=", min_accuracy),
    ]
    constraints = [f"{relation}{value}" for relation, value in bounds if value is not None] + list(constraint or ())
    settings = {key: value for key, value in (("seconds", seconds), ("threads", threads)) if value is not None}
    with reported_errors(), open_client(url, data_dir) as client:
        path = Path(model)
        reference = client.add_model(path, data=data)["id"] if path.is_file() else model
        study = client.submit_study(
            reference,
            targets=target or ["onnxruntime"],
            devices=device,
            match=options.requirement(match_label, match_board, needs_sensor=needs_sensor, any_of=None),
            objectives=objective or ["accuracy", "latency_p50_ms"],
            constraints=constraints,
            goals=goal,
            n_trials=trials,
            batch=batch,
            order=order,
            sampler=sampler,
            seed=seed,
            techniques=technique,
            max_epochs=max_epochs,
            space=None if space is None else read_space(space),
            reuse=not no_reuse,
            settings=settings or None,
            finalists=finalists,
            rounds=rounds,
            compare=not no_compare,
            priority=priority,
            compute=compute,
            deadline=deadline,
            name=name,
        )
        _announce(client, study, watch_it=watch_it, json_output=json_output)


@study_app.command("list")
def ls(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the searches, newest first."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.studies()
    empty = "No study yet. Start the first one with: edgefleet search MODEL --max-size 5MB"
    print_list(found, COLUMNS, json_output=json_output, csv_output=csv_output, empty=empty)


@study_app.command("show")
def show(study: StudyArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Show one search with what was asked for, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.study(study))


@study_app.command("trials")
def list_trials(
    study: StudyArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List a search's trials with their figures, or why they failed."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.trials(study)
    print_list(found, trial_columns(found), json_output=json_output, csv_output=csv_output, empty="No trial yet.")


@study_app.command("summary")
def summary(
    study: StudyArgument, url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Show what a search found so far: front, deployment check and recommendation of each kind of board."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.study_report(study)
    if json_output:
        print_json(found)
    else:
        print_report(found)


@study_app.command("events")
def events(
    study: StudyArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show what happened in a search so far, oldest first."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = list(client.study_events(study))
    print_list(found, EVENT_COLUMNS, json_output=json_output, csv_output=csv_output)


@study_app.command("watch")
def watch(
    study: StudyArgument, url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Follow a search until it ends, then print what it found; exit status 1 if it failed or was cancelled."""
    with reported_errors(), open_client(url, data_dir) as client:
        _follow(client, study, json_output=json_output)


@study_app.command("cancel")
def cancel(study: StudyArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """End a search; what it has measured so far, and the front of it, stays."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{study} is {client.cancel_study(study)['state']}", markup=False)


def read_size(text: str) -> int:
    """Bytes of a size such as 5MB, of powers of ten; ends with ``size_invalid`` if it is none."""
    wanted = text.strip().upper()
    unit = wanted.lstrip("0123456789.")
    try:
        return round(float(wanted[: len(wanted) - len(unit)]) * SIZES[unit.strip()])
    except (KeyError, ValueError):
        fail("size_invalid", f"{text!r} is no size such as 5MB, 800kB or 123456", status=EXIT_USAGE)


def read_space(path: Path) -> JsonObject:
    """The document of a .json file; ends with ``space_unreadable`` if it cannot be read."""
    try:
        parsed: JsonObject = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        fail("space_unreadable", f"{path}: {err}", status=EXIT_USAGE)
    return parsed


def _announce(client: Client, study: JsonObject, *, watch_it: bool, json_output: bool) -> None:
    if watch_it:
        _follow(client, study["id"], json_output=json_output)
    elif json_output:
        print_json(study)
    else:
        console.print(f"Submitted {study['id']}. Follow it with: edgefleet study watch {study['id']}", markup=False)


def _follow(client: Client, study_id: str, *, json_output: bool) -> None:
    with JobProgress() as progress:
        study = client.wait_for_study(study_id, progress.update)
    has_report = study["trials"]["completed"] + study["trials"]["failed"] > 0
    report = client.study_report(study_id) if has_report else None
    if json_output:
        print_json({"study": study, "report": report})
    elif report is not None:
        print_report(report)
        console.print(f"{client.url}/studies/{study_id}", markup=False)
    if study["state"] != "completed":
        error = study.get("error") or {}
        message = str(error.get("message", f"the study is {study['state']}"))
        fail(str(error.get("code", study["state"])), message, status=EXIT_FAILED)
