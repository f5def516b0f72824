"""``edgefleet compare``, ``aa`` and ``comparisons``."""

import re
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import EXIT_FAILED, console, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client
from edgefleet_controller.client import Client

JsonObject = dict[str, Any]

SHA256 = re.compile("[0-9a-f]{64}")
OUTCOMES = {"faster": "B is faster", "slower": "B is slower", "no_difference": "no difference"}

DeviceOption = Annotated[
    list[str] | None,
    typer.Option(help="Name of a device; may be given several times; default: all that can."),
]
PairsOption = Annotated[int, typer.Option(min=12, help="Blocks of each side in one comparison.")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of the runtime on the device.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Samples per inference.")]
ProviderOption = Annotated[str | None, typer.Option(help="Execution provider of onnxruntime, such as XNNPACK.")]
DelegateOption = Annotated[str | None, typer.Option(help="Delegate of a TFLite runtime, such as xnnpack.")]
comparison_app = typer.Typer(no_args_is_help=True, help="Comparisons that were submitted: show, watch, cancel.")
ComparisonArgument = Annotated[str, typer.Argument(help="Identifier of the comparison, cmp_...")]
ARTIFACT_HELP = "sha256 of an artifact, or JOB/VARIANT."


def compare(
    a: Annotated[str, typer.Argument(help="Artifact A: " + ARTIFACT_HELP)],
    b: Annotated[str, typer.Argument(help="Artifact B: " + ARTIFACT_HELP)],
    device: DeviceOption = None,
    pairs: PairsOption = 400,
    threads: ThreadsOption = 1,
    batch: BatchOption = 1,
    provider: ProviderOption = None,
    delegate: DelegateOption = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Run two artifacts in turns on each device and say which is faster; exit status 1 if no device could."""
    settings = _settings(threads=threads, batch=batch, provider=provider, delegate=delegate)
    with reported_errors(), open_client(url, data_dir) as client:
        created = client.submit_comparison(
            _reference(a), _reference(b), devices=device, n_pairs=pairs, settings=settings
        )
        _follow(client, created, json_output=json_output)


def compare_with_itself(
    artifact: Annotated[str, typer.Argument(help=ARTIFACT_HELP)],
    device: DeviceOption = None,
    comparisons: Annotated[int, typer.Option(min=1, max=1000, help="Comparisons on each device.")] = 20,
    pairs: PairsOption = 400,
    threads: ThreadsOption = 1,
    batch: BatchOption = 1,
    provider: ProviderOption = None,
    delegate: DelegateOption = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Count how often each device calls an artifact different from itself; exit status 1 if no device could."""
    settings = _settings(threads=threads, batch=batch, provider=provider, delegate=delegate)
    with reported_errors(), open_client(url, data_dir) as client:
        created = client.submit_comparison(
            _reference(artifact), devices=device, n_pairs=pairs, n_comparisons=comparisons, settings=settings
        )
        _follow(client, created, json_output=json_output)


COLUMNS = (
    Column("id"),
    Column("name"),
    Column("kind"),
    Column("state"),
    Column("devices", read=lambda comparison: len(comparison["results"])),
    Column("created_at", "submitted"),
)


def list_comparisons(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the comparisons, newest first."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.comparisons()
    print_list(found, COLUMNS, json_output=json_output, csv_output=csv_output)


@comparison_app.command("show")
def show(
    comparison: ComparisonArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show one comparison with ratio, interval and verdict of each device; with --json its conditions too."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.comparison(comparison)
    if json_output:
        print_json(found)
    else:
        _print(found)


@comparison_app.command("watch")
def watch(
    comparison: ComparisonArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Wait until a comparison has ended, then print it; exit status 1 if no device could compare."""
    with reported_errors(), open_client(url, data_dir) as client:
        _follow(client, client.comparison(comparison), json_output=json_output)


@comparison_app.command("cancel")
def cancel(comparison: ComparisonArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Drop a comparison's queued runs and ask the devices that hold others to stop."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{comparison} is {client.cancel_comparison(comparison)['state']}", markup=False)


def _follow(client: Client, created: JsonObject, *, json_output: bool) -> None:
    if not json_output:
        console.print(f"Waiting for {created['id']}: {created['name']}", markup=False)
    ended = client.wait_for_comparison(created["id"])
    if json_output:
        print_json(ended)
    else:
        _print(ended)
    if ended["state"] != "completed":
        error = next((row["error"] for row in ended["results"] if row["error"]), None) or {}
        message = str(error.get("message", f"the comparison is {ended['state']}"))
        fail(str(error.get("code", ended["state"])), message, status=EXIT_FAILED)


def _print(comparison: JsonObject) -> None:
    rows = [_cells(row) for row in comparison["results"]]
    title = f"{comparison['id']} {comparison['name']}: {comparison['state']}"
    found = "B / A" if comparison["kind"] == "ab" else "false positives"
    print_table(("device", "outcome", found, "interval", "verdict", "reasons"), rows, title=title)


def _cells(row: JsonObject) -> tuple[object, ...]:
    provenance = row["provenance"]
    name = row["device_name"] if provenance in (None, "measured") else f"{row['device_name']} ({provenance})"
    verdict = (row["verdict"]["status"], ", ".join(row["verdict"]["reasons"]) or None)
    if (ratio := row["comparison"]) is not None:
        low, high = ratio["interval"]
        return (name, OUTCOMES[ratio["outcome"]], f"{ratio['ratio']:.4f}", f"[{low:.4f}, {high:.4f}]", *verdict)
    if (rate := row["false_positives"]) is not None:
        low, high = rate["interval"]
        counts = f"{rate['n_false_positives']} of {rate['n_comparisons']}"
        return (name, f"{100 * rate['share']:.1f} %", counts, f"[{100 * low:.1f} %, {100 * high:.1f} %]", *verdict)
    return (name, row["state"], None, None, *verdict)


def _reference(text: str) -> str | JsonObject:
    if SHA256.fullmatch(text):
        return text
    job, separator, variant = text.partition("/")
    if not separator or not job or not variant:
        fail("artifact_not_named", f"{text!r} is neither a sha256 nor JOB/VARIANT", status=2)
    return {"job": job, "variant": variant}


def _settings(**values: Any) -> JsonObject:
    return {name: value for name, value in values.items() if value is not None}
