"""The documentation keeps up with the code."""

import re
from pathlib import Path

import pytest

from edgefleet_agent.wire.reasons import ErrorCode, Reason

DOCS = Path(__file__).resolve().parents[2] / "docs"
CODES = [code.value for code in (*Reason, *ErrorCode)]
ROW = re.compile(r"^\| `(?P<code>[a-z0-9_]+)` \| (?P<meaning>[^|]+) \| (?P<advice>[^|]+) \|$", re.MULTILINE)


def documented() -> "list[str]":
    return [match["code"] for match in ROW.finditer((DOCS / "reasons.md").read_text())]


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained_once(code: str) -> None:
    assert documented().count(code) == 1


def test_no_unknown_code_is_explained() -> None:
    assert set(documented()) <= set(CODES)


def test_every_link_of_the_measurement_page_leads_somewhere() -> None:
    for name in ("measurement.md", "reasons.md"):
        for target in re.findall(r"\]\(([a-z_-]+\.md)\)", (DOCS / name).read_text()):
            assert (DOCS / target).is_file()
