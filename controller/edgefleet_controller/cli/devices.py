"""``edgefleet device`` and ``edgefleet token``."""

from typing import Annotated, Any

import typer

from edgefleet_controller.cli.output import console, fail, print_json, print_table, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

JsonObject = dict[str, Any]

device_app = typer.Typer(no_args_is_help=True, help="Boards: register, list, show, hold, release, revoke.")
token_app = typer.Typer(
    no_args_is_help=True,
    help="Join tokens of boards (create) and API tokens of people and programs (issue, ls, revoke).",
)

NameArgument = Annotated[str, typer.Argument(help="Name or identifier of the device.")]


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
def ls(url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """List the boards."""
    with reported_errors(), open_client(url, data_dir) as client:
        devices = client.devices()
    if json_output:
        print_json(devices)
        return
    if not devices:
        console.print("No device yet. Register the first one with: edgefleet device add NAME --board linux-host")
        return
    print_table(
        ("name", "board", "kind", "state", "online", "last seen", "id"),
        [
            (
                d["name"],
                d["board"],
                d["kind"],
                d["state"],
                "yes" if d.get("online") else "no",
                d.get("last_seen_at"),
                d["id"],
            )
            for d in devices
        ],
    )


@device_app.command("show")
def show(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Show one board with its facts, as JSON."""
    with reported_errors(), open_client(url, data_dir) as client:
        print_json(client.device(name))


@device_app.command("hold")
def hold(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Keep a board free of new runs, for example to work on it by hand."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.hold_device(name)['name']} is held; end it with: edgefleet device release {name}")


@device_app.command("release")
def release(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """End a hold."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.release_device(name)['name']} takes runs again")


@device_app.command("revoke")
def revoke(name: NameArgument, url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Refuse a board from its next request on; its results stay."""
    with reported_errors(), open_client(url, data_dir) as client:
        console.print(f"{client.revoke_device(name)['name']} is revoked")


@token_app.command("create")
def create(
    device: Annotated[str | None, typer.Option(help="Bind the token to this registered device.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of tokens, one a line.")] = 1,
    url: UrlOption = None,
    data_dir: DataDirOption = None,
    json_output: JsonOption = False,
) -> None:
    """Mint one-time join tokens."""
    with reported_errors(), open_client(url, data_dir) as client:
        tokens = [client.create_join_token(device) for _ in range(count)]
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
