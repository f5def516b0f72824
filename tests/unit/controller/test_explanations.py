"""The pages say of a code what the documentation says."""

import json
from importlib.resources import files
from pathlib import Path

from edgefleet_controller.results.explanations import explain, parse_explanations

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_pages_know_every_code_in_the_words_of_the_documentation() -> None:
    """After a change of docs/reasons.md: write ``parse_explanations`` of it into results/explanations.json."""
    shipped = json.loads(
        files("edgefleet_controller.results").joinpath("explanations.json").read_text(encoding="utf-8")
    )
    assert shipped == parse_explanations((DOCS / "reasons.md").read_text(encoding="utf-8"))


def test_a_code_of_a_newer_agent_is_shown_as_it_is() -> None:
    assert explain("of_tomorrow").code == "of_tomorrow"
