"""docs/api.md names every route and document of the API, and explains each of their fields."""

from pathlib import Path

from edgefleet_controller.api_reference import MARK, openapi_document, reference

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"


def test_reference_is_that_of_the_app() -> None:
    """After a change: python -m edgefleet_controller.api_reference docs/api.md."""
    _, mark, written = PAGE.read_text().partition(MARK)
    assert mark
    assert written.strip() == reference(openapi_document()).strip()


def test_every_parameter_and_field_is_explained() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 500
    assert [row for row in rows if row.endswith("|  |") or "| ; default" in row] == []
