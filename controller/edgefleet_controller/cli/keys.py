"""``edgefleet key``: the key that orders are signed with."""

import typer

from edgefleet_controller.cli.output import console, print_json, reported_errors
from edgefleet_controller.cli.session import DataDirOption, JsonOption, UrlOption, open_client

key_app = typer.Typer(no_args_is_help=True, help="The key that orders are signed with: show, rotate.")


@key_app.command("show")
def show(url: UrlOption = None, data_dir: DataDirOption = None, json_output: JsonOption = False) -> None:
    """Show the public key and how often it was rotated."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.signing_keys()
    if json_output:
        print_json(found)
        return
    key = found["keys"][-1]
    console.print(f"key {key['key_id']}, public {key['public_key']}, rotations: {len(found['successions'])}")


@key_app.command("rotate")
def rotate(url: UrlOption = None, data_dir: DataDirOption = None) -> None:
    """Sign with a new key from now on; boards follow by the announcement that the present key signs."""
    with reported_errors(), open_client(url, data_dir) as client:
        found = client.rotate_signing_key()
    console.print(f"orders are signed with the key {found['keys'][-1]['key_id']} from now on")
