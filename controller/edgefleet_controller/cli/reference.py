"""The reference of all commands in Markdown, for docs/cli.md.

``python -m edgefleet_controller.cli.reference docs/cli.md`` writes it anew; a test compares the two.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from edgefleet_controller.cli.app import app

MARK = "<!-- what follows is written by: python -m edgefleet_controller.cli.reference docs/cli.md -->\n"


def reference() -> str:
    """Every command with its arguments and options, in the order of ``edgefleet --help``."""
    return "\n".join(_sections(get_command(app), "edgefleet"))


def _sections(command: Any, name: str) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is not None:
        for child_name, child in children.items():
            yield from _sections(child, f"{name} {child_name}")
        return
    yield f"### {name}\n"
    yield f"{_one_line(command.help)}\n"
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        yield "| | |\n|---|---|"
        yield from rows
        yield ""


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{(parameter.metavar or parameter.name).upper().strip('[]')}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    return f"| {name} | {_one_line(parameter.help)} |"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").replace("|", "\\|").split())


def main(page: Path) -> None:
    """Put the reference into the page, after the mark."""
    head, mark, _ = page.read_text().partition(MARK)
    page.write_text(head + (mark or MARK) + "\n" + reference())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
