"""``edgefleet job``."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from edgefleet_controller.cli import job_options as options
from edgefleet_controller.cli.listing import Column, CsvOption, percent, print_list
from edgefleet_controller.cli.output import EXIT_FAILED, console, fail, print_json, reported_errors
from edgefleet_controller.cli.progress import JobProgress
from edgefleet_controller.cli.result_table import print_results
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client

JsonObject = dict[str, Any]

job_app = typer.Typer(
    no_args_is_help=True, help="Compress-and-profile jobs: submit, list, show, watch, log, measure again, cancel."
)

COLUMNS = (
    Column("id"),
    Column("name"),
    Column("state"),
    Column("progress", show=percent),
    Column("created_at", "submitted"),
)
EVENT_COLUMNS = (Column("created_at", "at"), Column("kind"), Column("message"))
JobArgument = Annotated[str, typer.Argument(help="Identifier of the job.")]


@job_app.command("submit")
def submit(
    model: Annotated[str, typer.Argument(help="Name or identifier of the model.")],
    recipe: options.RecipesOption = None,
    target: options.TargetsOption = None,
    device: options.DevicesOption = None,
    threads: options.ThreadsOption = None,
    batch: options.BatchOption = None,
    provider: options.ProviderOption = None,
    delegate: options.DelegateOption = None,
    seconds: options.SecondsOption = None,
    min_accelerator_share: options.MinAcceleratorShareOption = None,
    seed: options.SeedOption = None,
    metric: options.MetricOption = "top1",
    no_cache: options.NoCacheOption = False,
    priority: options.PriorityOption = None,
    compute: options.ComputeOption = None,
    after: options.AfterOption = None,
    deadline: options.DeadlineOption = None,
    max_failures: options.MaxFailuresOption = None,
    max_failure_share: options.MaxFailureShareOption = None,
    name: options.NameOption = None,
    match_label: options.MatchLabelOption = None,
    match_board: options.MatchBoardOption = None,
    needs_sensor: options.NeedsSensorOption = False,
    any_of: options.AnyOfOption = None,
    watch_it: options.WatchOption = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compress a model by each recipe, compile it for each target and measure it on each device."""
    swept: dict[str, Sequence[Any]] = {
        "threads": options.numbers("threads", threads),
        "batch": options.numbers("batch", batch),
        "provider": options.words(provider),
        "delegate": options.words(delegate),
    }
    fixed = {"seconds": seconds, "min_accelerator_share": min_accelerator_share}
    with reported_errors(), open_client(url, data_dir) as client:
        job = client.submit_job(
            model,
            recipes=[options.read_recipe(value) for value in recipe or ["baseline", "int8"]],
            targets=target or ["onnxruntime"],
            devices=device,
            settings=options.sweep_settings(swept, fixed),
            seed=seed,
            metric=metric,
            no_cache=no_cache,
            priority=priority,
            compute=compute,
            after=after,
            deadline=deadline,
            max_failures=max_failures,
            max_failure_share=max_failure_share,
            name=name,
            match=options.requirement(match_label, match_board, needs_sensor=needs_sensor, any_of=any_of),
            any_of=any_of,
        )
        _announce(client, job, watch_it=watch_it, json_output=json_output)


@job_app.command("ls")
def ls(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the jobs, newest first."""
    with reported_errors(), open_client(url, data_dir) as client:
        jobs = client.jobs()
    empty = "No job yet. Submit the first one with: edgefleet job submit MODEL --recipe baseline --recipe int8"
    print_list(jobs, COLUMNS, json_output=json_output, csv_output=csv_output, empty=empty)


@job_app.command("events")
def events(
    job: JobArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show what happened in a job so far, oldest first."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = list(client.job_events(job))
    print_list(found, EVENT_COLUMNS, json_output=json_output, csv_output=csv_output)


@job_app.command("show")
def show(job: JobArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Show one job with its variants, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.job(job))


@job_app.command("watch")
def watch(
    job: JobArgument, url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Follow a job until it ends, then print its results; exit status 1 if it failed or was cancelled."""
    with reported_errors(), open_client(url, data_dir) as client:
        _follow(client, job, json_output=json_output)


@job_app.command("remeasure")
def remeasure(
    job: JobArgument,
    variant: Annotated[
        list[str] | None, typer.Option(help="Name of a variant; may be given several times; default: all.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Name of a device; may be given several times; default: the job's.")
    ] = None,
    threads: options.ThreadsOption = None,
    batch: options.BatchOption = None,
    seconds: options.SecondsOption = None,
    priority: options.PriorityOption = None,
    deadline: options.DeadlineOption = None,
    max_failures: options.MaxFailuresOption = None,
    max_failure_share: options.MaxFailureShareOption = None,
    name: options.NameOption = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the new job and print its results.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure a job's artifacts again; nothing is compressed or compiled."""
    swept = {"threads": options.numbers("threads", threads), "batch": options.numbers("batch", batch)}
    is_changed = any(swept.values()) or seconds is not None
    with reported_errors(), open_client(url, data_dir) as client:
        again = client.remeasure_job(
            job,
            variants=variant,
            devices=device,
            settings=options.sweep_settings(swept, {"seconds": seconds}) if is_changed else None,
            priority=priority,
            deadline=deadline,
            max_failures=max_failures,
            max_failure_share=max_failure_share,
            name=name,
        )
        _announce(client, again, watch_it=watch_it, json_output=json_output)


@job_app.command("cancel")
def cancel(job: JobArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Stop a job; what it has measured so far stays."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{job} is {client.cancel_job(job)['state']}", markup=False)


def _announce(client: Client, job: JsonObject, *, watch_it: bool, json_output: bool) -> None:
    """Say that a job was submitted, or follow it to its end."""
    if watch_it:
        _follow(client, job["id"], json_output=json_output)
    elif json_output:
        print_json(job)
    else:
        console.print(f"Submitted {job['id']}. Follow it with: edgefleet job watch {job['id']}", markup=False)


def _follow(client: Client, job_id: str, *, json_output: bool) -> None:
    with JobProgress() as progress:
        job = client.wait_for_job(job_id, progress.update)
    rows = client.results(job_id)
    if json_output:
        print_json({"job": job, "variants": rows})
    else:
        print_results(rows, title=f"{job['id']} {job['state']}")
        console.print(f"{client.url}/jobs/{job_id}", markup=False)
    if job["state"] != "completed":
        error = job.get("error") or {}
        fail(
            str(error.get("code", job["state"])),
            str(error.get("message", f"the job is {job['state']}")),
            status=EXIT_FAILED,
        )
