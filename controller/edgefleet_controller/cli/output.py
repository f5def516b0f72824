"""How the command line speaks: tables for people, JSON for programs, errors with an exit status."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgefleet_controller.client import ClientError

JsonObject = dict[str, Any]

EXIT_FAILED = 1
"""The request was understood and did not succeed."""
EXIT_USAGE = 2
"""The command was called in a way that cannot work (typer's own status)."""
EXIT_UNREACHABLE = 3
"""No controller answered."""

NEXT_STEPS: Mapping[str, str] = MappingProxyType(
    {
        "not_authenticated": "set EDGEFLEET_TOKEN to a token that is valid; make one with: edgefleet token issue NAME",
        "not_allowed": "see your roles with: edgefleet whoami; a project's administrator gives roles with: "
        "edgefleet project member PROJECT USER --role operator",
        "no_devices": "register a board with: edgefleet device add NAME --board linux-host",
        "device_cannot_compare": "see what the boards have with: edgefleet device ls",
        "unknown_recipe": "see the presets with: edgefleet recipes",
        "unknown_target": "see the targets with: edgefleet targets",
        "wait_timed_out": "go on waiting with: edgefleet job watch JOB",
        "not_a_controller": "check the address in --url or EDGEFLEET_URL",
        "too_many_requests": "wait a moment and repeat it",
    }
)
"""What to do after errors whose message cannot know the command line."""

PIPE_WIDTH = 240
"""Columns on a pipe or in a file, where nothing should be cut to fit a window."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table; ``None`` becomes a dash. Names come from people and boards, so nothing in them is taken for markup."""
    shown = None if title is None else Text(printable(title))
    table = Table(*columns, title=shown, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text("-" if cell is None else printable(str(cell))) for cell in row))
    console.print(table)


def printable(text: str) -> str:
    """The text with a ? for each control character, which could move the cursor or colour what follows."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def fail(code: str, message: str, *, status: int = EXIT_FAILED) -> NoReturn:
    """End with the coded reason on standard error."""
    error_console.print(Text(printable(code), style="red"), end=": ")
    error_console.print(message, markup=False)
    if code in NEXT_STEPS:
        error_console.print(f"next: {NEXT_STEPS[code]}", markup=False)
    raise typer.Exit(status)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn a failed request into a message and an exit status."""
    try:
        yield
    except ClientError as err:
        fail(err.code, err.message, status=EXIT_UNREACHABLE if err.code == "controller_unreachable" else EXIT_FAILED)
