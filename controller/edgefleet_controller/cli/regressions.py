"""``edgefleet regression`` and ``webhook``."""

import json
import sys
from typing import Annotated

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list
from edgefleet_controller.cli.output import console, print_json, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

regression_app = typer.Typer(no_args_is_help=True, help="Changes found in what was measured again: list, show, watch.")
webhook_app = typer.Typer(no_args_is_help=True, help="Addresses that are told of such changes: add, list, remove.")
COLUMNS = (
    Column("id"),
    Column("direction"),
    Column("figure"),
    Column("change", read=lambda row: row["ratio"] - 1, show=lambda share: f"{share:+.1%}"),
    Column("before", show=lambda value: f"{value:.4g}"),
    Column("after", show=lambda value: f"{value:.4g}"),
    Column("p_value", "p"),
    Column("device_id", "device"),
    Column("artifact_sha256", "artifact", show=lambda sha256: sha256[:12]),
    Column("created_at", "found"),
    Column("acknowledged_by", "noted by"),
)
WEBHOOK_COLUMNS = (Column("id"), Column("url"), Column("created_by", "by"), Column("created_at", "since"))
DELIVERY_COLUMNS = (
    Column("id"),
    Column("state"),
    Column("attempts"),
    Column("due_at", "next"),
    Column("message"),
    Column("regression_id", "regression"),
)
RegressionArgument = Annotated[str, typer.Argument(help="Identifier of the regression, reg_...")]
WebhookArgument = Annotated[str, typer.Argument(help="Identifier of the webhook, whk_...")]


@regression_app.command("ls")
def list_regressions(
    device: Annotated[str | None, typer.Option(help="Only those of this device (name or identifier).")] = None,
    artifact: Annotated[str | None, typer.Option(help="Only those of this artifact (sha256).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those too that somebody has noted.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List changes that nobody has noted yet, newest first."""
    with reported_errors(), open_client(url, data_dir) as client:
        device_id = client.device(device)["id"] if device is not None else None
        found = client.regressions(device=device_id, artifact=artifact, is_open=None if everything else True)
    empty = "No change is open. Artifacts are looked at when they are measured again: edgefleet job remeasure JOB"
    print_list(found, COLUMNS, json_output=json_output, csv_output=csv_output, empty=empty)


@regression_app.command("show")
def show(regression: RegressionArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Show one change, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.regression(regression))


@regression_app.command("ack")
def acknowledge(regression: RegressionArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Take note of a change, so that it is no longer listed as open."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.acknowledge_regression(regression)['id']} is noted", markup=False)


@regression_app.command("watch")
def watch(
    after: Annotated[str | None, typer.Option(help="Begin after this regression; default: with the next one.")] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print each change when it is found, as a line of JSON, until Ctrl-C."""
    with reported_errors(), open_client(url, data_dir) as client:
        while True:
            for found in client.follow_regressions(after=after):
                after = found["id"]
                sys.stdout.write(json.dumps(found) + "\n")
                sys.stdout.flush()


@webhook_app.command("add")
def add_webhook(
    address: Annotated[str, typer.Argument(help="An https:// address with a public host.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Tell an address of the project's changes; the secret that signs the messages is shown this once."""
    with reported_errors(), open_client(url, data_dir) as client:
        made = client.add_webhook(address)
    if json_output:
        print_json(made)
    else:
        console.print(f"{made['id']}, secret {made['secret']}", markup=False)


@webhook_app.command("ls")
def list_webhooks(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the webhooks, without their secrets."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.webhooks()
    print_list(found, WEBHOOK_COLUMNS, json_output=json_output, csv_output=csv_output)


@webhook_app.command("deliveries")
def list_deliveries(
    webhook: WebhookArgument,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the messages to a webhook, and what the last attempt met."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.webhook_deliveries(webhook)
    print_list(found, DELIVERY_COLUMNS, json_output=json_output, csv_output=csv_output)


@webhook_app.command("rm")
def remove_webhook(webhook: WebhookArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Tell an address of nothing more."""
    with reported_errors(), open_client(url, data_dir) as client:
        client.delete_webhook(webhook)
    console.print(f"{webhook} is removed", markup=False)
