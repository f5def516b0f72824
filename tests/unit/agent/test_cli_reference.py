"""docs/agent.md names every setting, command and option of the agent."""

from pathlib import Path

from edgefleet_agent.cli.reference import MARK, reference

PAGE = Path(__file__).resolve().parents[3] / "docs" / "agent.md"


def test_reference_is_that_of_the_agent() -> None:
    """After a change: python -m edgefleet_agent.cli.reference docs/agent.md."""
    _, mark, written = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    assert written.strip() == reference().strip()


def test_every_setting_and_option_is_explained() -> None:
    for line in reference().splitlines():
        assert not line.endswith("|  |"), line
