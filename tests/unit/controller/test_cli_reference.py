"""docs/cli.md names every command and flag."""

from pathlib import Path

from edgefleet_controller.cli.reference import MARK, reference

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


def test_reference_is_that_of_the_commands() -> None:
    """After a change: python -m edgefleet_controller.cli.reference docs/cli.md."""
    _, mark, written = PAGE.read_text().partition(MARK)
    assert mark
    assert written.strip() == reference().strip()


def test_every_command_and_option_is_explained() -> None:
    for line in reference().splitlines():
        assert not line.endswith("|  |"), line


def test_listing_commands_offer_both_forms_for_programs() -> None:
    sections = reference().split("### ")[1:]
    lists = [section for section in sections if section.split("\n")[0].endswith((" ls", "s")) and "`--json`" in section]
    assert len(lists) >= 15
    without = [section.split("\n")[0] for section in lists if "`--csv`" not in section]
    assert without == ["edgefleet status", "edgefleet model analysis"]
