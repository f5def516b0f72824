"""Options that every command shares."""

from pathlib import Path
from typing import Annotated

import typer

from edgefleet_controller.client import Client, connect

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", help="Address of the controller; default: $EDGEFLEET_URL or the one serving from the data directory."
    ),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Data directory of the controller, for its operator token; default: $EDGEFLEET_HOME."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


def open_client(url: str | None, data_dir: Path | None) -> Client:
    """The client that the shared options ask for."""
    return connect(url, data_dir)
