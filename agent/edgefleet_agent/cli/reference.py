"""The reference of the agent's settings and commands in Markdown, for docs/agent.md.

``python -m edgefleet_agent.cli.reference docs/agent.md`` writes it anew; a test compares the two.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from edgefleet_agent.cli import build_parser
from edgefleet_agent.settings import PREFIX, AgentSettings

MARK = "<!-- what follows is written by: python -m edgefleet_agent.cli.reference docs/agent.md -->\n"


def reference() -> str:
    """Every setting, then every command with its arguments and options, in the order of ``edgefleet-agent --help``."""
    parser = build_parser()
    return "\n".join([*_settings(), "## Commands\n", *_command(parser, "edgefleet-agent"), *_subcommands(parser)])


def _settings() -> Iterator[str]:
    yield "## Settings\n"
    yield "| `agent.json` | variable | default | meaning |\n|---|---|---|---|"
    for name, field in AgentSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        said = "" if default is None or default in ([], {}) else "{}".format(default)
        yield "| `{}` | `{}{}` | {} | {} |".format(name, PREFIX, name.upper(), said, _one_line(field.description))
    yield ""


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            meanings = {choice.dest: choice.help for choice in action._choices_actions}
            for name, child in action.choices.items():
                yield from _command(child, "edgefleet-agent " + name, meanings.get(name))


def _command(parser: argparse.ArgumentParser, name: str, meaning: "str | None" = None) -> Iterator[str]:
    yield "### {}\n".format(name)
    yield "{}\n".format(_one_line(meaning or parser.description))
    rows = [
        _row(action)
        for action in parser._actions
        if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    ]
    if rows:
        yield "| | |\n|---|---|"
        yield from rows
        yield ""


def _row(action: argparse.Action) -> str:
    name = ", ".join("`{}`".format(option) for option in action.option_strings) or "`{}`".format(
        action.metavar or action.dest.upper()
    )
    choices = ", ".join("`{}`".format(choice) for choice in action.choices or ())
    said = [
        _one_line(action.help % {"default": action.default, "prog": "edgefleet-agent"} if action.help else ""),
        choices,
    ]
    return "| {} | {} |".format(name, "; ".join(part for part in said if part))


def _one_line(text: "str | None") -> str:
    return " ".join((text or "").replace("|", "\\|").split())


def main(page: Path) -> None:
    """Put the reference into the page, after the mark."""
    head, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(head + (mark or MARK) + "\n" + reference(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
