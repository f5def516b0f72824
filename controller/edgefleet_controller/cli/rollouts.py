"""``edgefleet rollout``: bring another version of the agent to the boards, some of them first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list, yes_or_no
from edgefleet_controller.cli.output import EXIT_USAGE, console, fail, print_json, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

rollout_app = typer.Typer(no_args_is_help=True, help="Updates of the boards' agents: start, status, cancel.")


@rollout_app.command("start")
def start(
    wheel: Annotated[str, typer.Argument(help="A wheel of edgefleet-agent, or the version of one sent before.")],
    device: Annotated[list[str] | None, typer.Option(help="A board by name; again for more. Default: all.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Boards with this label, name=value; all of several.")] = None,
    canary_share: Annotated[float, typer.Option(help="Share of the boards that get it first; one at least.")] = 0.1,
    max_failures: Annotated[int, typer.Option(help="Stop when so many boards failed; one canary always stops.")] = 1,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Update the agents of boards: of a share of them first, of the others when those have checked in."""
    match = {"labels": _labels(label)} if label else None
    with reported_errors(), open_client(url, data_dir) as client:
        path = Path(wheel)
        release = client.add_release(client.upload(path))["version"] if path.is_file() else wheel
        rollout = client.start_rollout(
            release, devices=device, match=match, canary_share=canary_share, max_failures=max_failures
        )
    _show(rollout, json_output=json_output)


@rollout_app.command("status")
def status(
    rollout_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One rollout; default: a list.")] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """Show how far a rollout is, board by board, or list all rollouts."""
    with reported_errors(), open_client(url, data_dir) as client:
        if rollout_id is not None:
            found = client.rollout(rollout_id)
            if csv_output:
                print_list(found["devices"], BOARD_COLUMNS, json_output=json_output, csv_output=True)
            else:
                _show(found, json_output=json_output)
            return
        rollouts = client.rollouts()
    print_list(rollouts, COLUMNS, json_output=json_output, csv_output=csv_output)


@rollout_app.command("cancel")
def cancel(
    rollout_id: Annotated[str, typer.Argument(metavar="ID", help="Identifier of the rollout.")],
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Offer the version to no further board; those that have it keep it."""
    with reported_errors(), open_client(url, data_dir) as client:
        _show(client.cancel_rollout(rollout_id), json_output=json_output)


BOARD_COLUMNS = (
    Column("name", "board"),
    Column("is_canary", "canary", show=yes_or_no),
    Column("state"),
    Column("from_version", "from"),
    Column("agent_version", "now"),
    Column("message"),
)


def _labels(pairs: list[str]) -> dict[str, str]:
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        fail("invalid_label", f"{wrong[0]!r} is no name=value", status=EXIT_USAGE)
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _counts(rollout: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {state}" for state, n in rollout["counts"].items())


COLUMNS = (
    Column("id"),
    Column("version"),
    Column("state"),
    Column("boards", read=_counts),
    Column("created_at", "started"),
)


def _show(rollout: dict[str, Any], *, json_output: bool) -> None:
    if json_output:
        print_json(rollout)
        return
    console.print(f"{rollout['id']}: version {rollout['version']}, {rollout['state']}: {_counts(rollout)}")
    if rollout["message"]:
        console.print(rollout["message"], markup=False)
    print_list(rollout["devices"], BOARD_COLUMNS, json_output=False, csv_output=False)
