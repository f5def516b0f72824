"""``edgefleet device`` and ``edgefleet token``."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from edgefleet_controller.cli.listing import Column, CsvOption, print_list, yes_or_no
from edgefleet_controller.cli.output import console, fail, print_json, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

JsonObject = dict[str, Any]

device_app = typer.Typer(
    no_args_is_help=True, help="Boards: register, list, show, hold, drain, release, set, window, revoke."
)
token_app = typer.Typer(
    no_args_is_help=True,
    help="Join tokens of boards (create) and API tokens of people and programs (issue, ls, revoke).",
)

NameArgument = Annotated[str, typer.Argument(help="Name or identifier of the device.")]
UntilOption = Annotated[
    str | None, typer.Option(help="How long, such as 90m, 8h or 2d, or until when, such as 2026-12-01T08:00Z.")
]
COLUMNS = (
    Column("name"),
    Column("board"),
    Column("kind"),
    Column("state"),
    Column("online", show=yes_or_no),
    Column("last_seen_at", "last seen"),
    Column("id"),
)
DRAIN_POLL_S = 1.0
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@device_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the board, unique in the fleet.")],
    board: Annotated[
        str, typer.Option(help="Board kind, such as raspberry-pi-4, jetson-nano or linux-host.")
    ] = "linux-host",
    kind: Annotated[
        str,
        typer.Option(help="physical, simulated (edgefleet-agent simulate) or emulated (its times are never results)."),
    ] = "physical",
    label: Annotated[list[str] | None, typer.Option(help="key=value; may be given several times.")] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Register a board and print the line that enrols it."""
    with reported_errors(), open_client(url, data_dir) as client:
        device = client.add_device(name, board, _labels(label or []), kind=kind)
        if json_output:
            print_json(device)
            return
        console.print(f"Registered {device['name']} ({device['id']}). Run this on the board within the hour:")
        command = f"simulate --board {board}" if kind == "simulated" else "run"
        console.print(
            f"  edgefleet-agent {command} --controller {client.url} --join-token {device['join_token']}", markup=False
        )


@device_app.command("ls")
def ls(
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
    csv_output: CsvOption = False,
) -> None:
    """List the boards."""
    with reported_errors(), open_client(url, data_dir) as client:
        devices = client.devices()
    empty = "No device yet. Register the first one with: edgefleet device add NAME --board linux-host"
    print_list(devices, COLUMNS, json_output=json_output, csv_output=csv_output, empty=empty)


@device_app.command("show")
def show(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Show one board with its facts, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.device(name))


@device_app.command("accept")
def accept(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Let a board that waits to be accepted have runs."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.accept_device(name)['name']} is accepted", markup=False)


@device_app.command("hold")
def hold(
    name: NameArgument,
    reason: Annotated[str | None, typer.Option(help="Why, for others to read.")] = None,
    until: UntilOption = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Take a board: it is given no new runs, for example while you work on it by hand."""
    for_s = _seconds(until)
    with reported_errors(), open_client(url, data_dir) as client:
        held = client.hold_device(name, reason, for_s)
    ends = f" until {held['held_until']}" if held["held_until"] else ""
    console.print(f"{held['name']} is held{ends}; end it with: edgefleet device release {name}")


@device_app.command("drain")
def drain(
    name: NameArgument,
    reason: Annotated[str | None, typer.Option(help="Why, for others to read.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the board holds no run.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Let a board finish its run and take no more, before it is switched off."""
    with reported_errors(), open_client(url, data_dir) as client:
        device = client.drain_device(name, reason)
        while wait and any(run["state"] == "leased" for run in client.device_runs(device["id"])):
            time.sleep(DRAIN_POLL_S)
    said = "holds no run now" if wait else "finishes its run"
    console.print(f"{device['name']} {said} and takes no more; end it with: edgefleet device release {name}")


@device_app.command("release")
def release(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Give a held, draining or quarantined board runs again."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.release_device(name)['name']} takes runs again")


@device_app.command("set")
def change(
    name: NameArgument,
    label: Annotated[list[str] | None, typer.Option(help="key=value; key= removes the label. Repeatable.")] = None,
    cool_down: Annotated[float | None, typer.Option(min=0, help="Pause after each run, in seconds.")] = None,
    reserved: Annotated[
        bool | None,
        typer.Option("--reserved/--not-reserved", help="Only runs that name the board, or that no other could do."),
    ] = None,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Change a board's labels, its pause between runs, or whether it is reserved."""
    changes: JsonObject = {"cool_down_s": cool_down, "is_reserved": reserved}
    changes = {key: value for key, value in changes.items() if value is not None}
    if label:
        changes["labels"] = {key: text or None for key, text in _labels(label).items()}
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.patch_device(name, changes))


@device_app.command("window")
def window(
    name: NameArgument,
    at: Annotated[str | None, typer.Option(metavar="HH:MM", help="Begin of a weekly window, UTC.")] = None,
    days: Annotated[str | None, typer.Option(help="Its days, such as sat,sun; without: every day.")] = None,
    lasts: Annotated[str, typer.Option(help="Its length, such as 90m or 2h.")] = "1h",
    reason: Annotated[str | None, typer.Option(help="Why, for others to read.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all windows of the board first.")] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add a weekly maintenance window, in which the board is given no run; times are UTC by the controller's clock."""
    added: JsonObject = {"kind": "weekly", "at": at, "duration_s": _seconds(lasts), "reason": reason}
    if days:
        added["days"] = days.split(",")
    with reported_errors(), open_client(url, data_dir) as client:
        present = [] if clear else client.device(name)["windows"] or []
        print_json(client.patch_device(name, {"windows": present + ([added] if at else [])})["windows"])


@device_app.command("revoke")
def revoke(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Refuse a board from its next request on; its results stay."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.revoke_device(name)['name']} is revoked")


@token_app.command("create")
def create(
    device: Annotated[str | None, typer.Option(help="Bind the token to this registered device.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of tokens, one a line.")] = 1,
    label: Annotated[
        list[str] | None, typer.Option(help="key=value for the board; may be given several times.")
    ] = None,
    board: Annotated[str | None, typer.Option(help="The only board kind that the token enrols.")] = None,
    serial: Annotated[str | None, typer.Option(help="The only serial number that the token enrols.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Life of the token; default: the controller's.")] = None,
    needs_accept: Annotated[
        bool, typer.Option("--needs-accept", help="The board gets no runs until `edgefleet device accept`.")
    ] = False,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Mint one-time join tokens."""
    bounds: JsonObject = {"labels": _labels(label or []) or None, "board": board, "serial": serial}
    bounds |= {"auto_accept": False if needs_accept else None, "ttl_s": minutes * 60 if minutes else None}
    with reported_errors(), open_client(url, data_dir) as client:
        tokens = [client.create_join_token(device, **bounds) for _ in range(count)]
    if json_output:
        print_json(tokens[0] if count == 1 else tokens)
        return
    for token in tokens:
        console.print(token["join_token"], markup=False)


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            fail("label_invalid", f"{pair!r} is not key=value", status=2)
        labels[key] = value
    return labels


def _seconds(text: str | None) -> float | None:
    """Seconds of ``90m``, ``8h``, ``2d`` or until an instant with a zone; None for None."""
    if text is None:
        return None
    if text[-1:] in UNITS_S and text[:-1].replace(".", "", 1).isdigit():
        return float(text[:-1]) * UNITS_S[text[-1]]
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(
            "time_invalid",
            f"{text!r} is neither a length such as 90m, 8h or 2d, nor an instant such as 2026-12-01T08:00Z",
            status=2,
        )
    if instant.tzinfo is None:
        fail("time_invalid", f"{text!r} names no zone; append Z for UTC", status=2)
    return (instant - datetime.now(UTC)).total_seconds()
