"""``edgefleet job``, ``results`` and ``front``."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.output import EXIT_FAILED, console, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.progress import JobProgress
from edgefleet_controller.cli.result_table import print_results
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client

JsonObject = dict[str, Any]

job_app = typer.Typer(no_args_is_help=True, help="Compress-and-profile jobs: submit, list, show, watch, cancel.")

JobArgument = Annotated[str, typer.Argument(help="Identifier of the job.")]


@job_app.command("submit")
def submit(
    model: Annotated[str, typer.Argument(help="Name or identifier of the model.")],
    recipe: Annotated[
        list[str] | None, typer.Option(help="Preset name or a .json file with a recipe; may be given several times.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="Target; may be given several times.")] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="Name of a device; may be given several times; default: all that are active."),
    ] = None,
    threads: Annotated[
        str | None, typer.Option(help="Threads of the runtime on the device; 1,2,4 measures with each.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Samples per inference; 1,8 measures with each.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Execution provider of onnxruntime, such as CPU,XNNPACK to measure with each.")
    ] = None,
    delegate: Annotated[
        str | None, typer.Option(help="Delegate of a TFLite runtime; several, with commas, measure with each.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Least length of the timed part.")] = None,
    min_accelerator_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Runs with less than this share on the accelerator are invalid.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of training and compression; default: each recipe's own.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Shown beside accuracy: top1, top5, f1_binary, f1_macro or mcc.")
    ] = "top1",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compress again even if the same was done before.")
    ] = False,
    priority: Annotated[str | None, typer.Option(help="low, normal or high: a head start before other jobs.")] = None,
    compute: Annotated[
        str | None,
        typer.Option(help="Where recipes that train run: cpu, gpu, or auto for a GPU where a worker has one."),
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(help="Begin when this job has completed; may be given several times.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(help="End then, such as 2026-12-24T18:00:00Z, and keep what was measured.")
    ] = None,
    max_failures: Annotated[int | None, typer.Option(min=0, help="Stop when more runs have failed.")] = None,
    max_failure_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Stop when a larger share of all runs has failed.")
    ] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the job and print its results.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compress a model by each recipe, compile it for each target and measure it on each device."""
    swept: dict[str, Sequence[Any]] = {
        "threads": _numbers("threads", threads),
        "batch": _numbers("batch", batch),
        "provider": _names(provider),
        "delegate": _names(delegate),
    }
    wanted = {"seconds": seconds, "min_accelerator_share": min_accelerator_share}
    settings = sweep_settings(swept, {name: value for name, value in wanted.items() if value is not None})
    with reported_errors(), open_client(url, data_dir) as client:
        job = client.submit_job(
            model,
            recipes=[read_recipe(value) for value in recipe or ["baseline", "int8"]],
            targets=target or ["onnxruntime"],
            devices=device,
            settings=settings,
            seed=seed,
            metric=metric,
            no_cache=no_cache,
            priority=priority,
            compute=compute,
            after=after,
            deadline=deadline,
            max_failures=max_failures,
            max_failure_share=max_failure_share,
        )
        if watch_it:
            _follow(client, job["id"], json_output=json_output)
        elif json_output:
            print_json(job)
        else:
            console.print(f"Submitted {job['id']}. Follow it with: edgefleet job watch {job['id']}", markup=False)


@job_app.command("ls")
def ls(url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """List the jobs."""
    with reported_errors(), open_client(url, data_dir) as client:
        jobs = client.jobs()
    if json_output:
        print_json(jobs)
        return
    print_table(
        ("id", "name", "state", "progress", "submitted"),
        [(j["id"], j["name"], j["state"], f"{100 * j['progress']:.0f} %", j["created_at"]) for j in jobs],
    )


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
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Follow the new job and print its results.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure a job's artifacts again; nothing is compressed or compiled."""
    with reported_errors(), open_client(url, data_dir) as client:
        again = client.remeasure_job(job, variants=variant, devices=device, priority=priority)
        if watch_it:
            _follow(client, again["id"], json_output=json_output)
        elif json_output:
            print_json(again)
        else:
            console.print(f"Submitted {again['id']}. Follow it with: edgefleet job watch {again['id']}", markup=False)


@job_app.command("cancel")
def cancel(job: JobArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Stop a job; what it has measured so far stays."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{job} is {client.cancel_job(job)['state']}", markup=False)


def results(
    job: JobArgument, url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False
) -> None:
    """Print a job's variants: size, accuracy, latency, memory, energy, verdict."""
    with reported_errors(), open_client(url, data_dir) as client:
        rows = client.results(job)
        partial = not json_output and client.has_partial_results(job)
    if json_output:
        print_json(rows)
        return
    print_results(rows)
    if partial:
        console.print("Partial: the job has not ended, or was stopped before all was measured.", markup=False)


def front(
    job: JobArgument,
    x: Annotated[
        str, typer.Option(help="Figure to minimise, such as latency_p50_ms or size_bytes.")
    ] = "latency_p50_ms",
    y: Annotated[str, typer.Option(help="The other figure; accuracy is maximised.")] = "accuracy",
    provenance: Annotated[
        str, typer.Option(help="measured, or figures of simulated, replayed, emulated or imported devices only.")
    ] = "measured",
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Print the variants that no other variant beats in both figures."""
    with reported_errors(), open_client(url, data_dir) as client:
        answer = client.front(job, x, y, provenance=provenance)
    if json_output:
        print_json(answer)
    else:
        title = None if provenance == "measured" else f"{provenance}, not measured"
        rows = [(p["name"], p["device_name"], p["x"], p["y"]) for p in answer["points"] if p["on_front"]]
        print_table(("variant", "device", x, y), rows, title=title)


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


def sweep_settings(swept: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]) -> list[JsonObject]:
    """Every combination of the swept values, each with the fixed ones."""
    names = [name for name, values in swept.items() if values]
    return [dict(fixed) | dict(zip(names, values, strict=True)) for values in product(*(swept[name] for name in names))]


def _numbers(option: str, text: str | None) -> list[int]:
    parts = _names(text)
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        fail("settings_invalid", f"--{option}: {text!r} is not a number, or numbers with commas such as 1,2", status=2)
    return [int(part) for part in parts]


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def read_recipe(value: str) -> str | JsonObject:
    """The name of a preset as it is, or the document of a .json file; ends with ``recipe_unreadable`` if it cannot be read."""
    path = Path(value)
    if path.suffix != ".json":
        return value
    try:
        parsed: JsonObject = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        fail("recipe_unreadable", f"{path}: {err}", status=2)
    return parsed
