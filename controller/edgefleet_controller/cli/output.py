"""How the command line speaks: tables for people, JSON for programs, errors with an exit status."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from edgefleet_controller.client import ClientError

JsonObject = dict[str, Any]

EXIT_FAILED = 1
"""The request was understood and did not succeed."""
EXIT_USAGE = 2
"""The command was called in a way that cannot work (typer's own status)."""
EXIT_UNREACHABLE = 3
"""No controller answered."""

PIPE_WIDTH = 240
"""Columns on a pipe or in a file, where nothing should be cut to fit a window."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table; ``None`` becomes a dash."""
    table = Table(*columns, title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    console.print(table)


def fail(code: str, message: str, *, status: int = EXIT_FAILED) -> NoReturn:
    """End with the coded reason on standard error."""
    error_console.print(f"[red]{code}[/red]: ", end="")
    error_console.print(message, markup=False)
    raise typer.Exit(status)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn a failed request into a message and an exit status."""
    try:
        yield
    except ClientError as err:
        fail(err.code, err.message, status=EXIT_UNREACHABLE if err.code == "controller_unreachable" else EXIT_FAILED)
