"""The documentation keeps up with the code: no setting, route or code is undocumented, and no link leads nowhere.

Commands and their options are compared in tests/unit/controller/test_cli_reference.py, routes and fields of the API in
test_api_reference.py beside it, the agent's in tests/unit/agent/test_cli_reference.py.
"""

import re
from pathlib import Path

import pytest

from edgefleet_agent.wire.reasons import ErrorCode, Reason
from edgefleet_controller.auth.access import ACCESS
from edgefleet_controller.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "ansible" / "README.md"])
CODES = [code.value for code in (*Reason, *ErrorCode)]
ROW = re.compile(r"^\| `(?P<code>[a-z0-9_]+)` \| (?P<meaning>[^|]+) \| (?P<advice>[^|]+) \|$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)(?P<path>[^)#\s]+)(?:#[^)]*)?\)")
VARIABLE = re.compile(r"[\"'](?P<name>EDGEFLEET_[A-Z0-9_]*[A-Z0-9])[\"']")
INTERNAL = {"EDGEFLEET_AGENT_LAUNCHED"}
"""Set by the agent for its own next version, never by a person."""


def documented() -> "list[str]":
    return [match["code"] for match in ROW.finditer((DOCS / "reasons.md").read_text())]


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained_once(code: str) -> None:
    assert documented().count(code) == 1


def test_no_unknown_code_is_explained() -> None:
    assert set(documented()) <= set(CODES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = [match["path"] for match in LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = {(DOCS / match["path"]).resolve() for match in LINK.finditer((DOCS / "index.md").read_text())}
    assert [page for page in PAGES if page not in index and page.name != "index.md"] == []


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_of_the_controller_is_explained(name: str) -> None:
    rows = [line for line in (DOCS / "controller.md").read_text().splitlines() if f"`EDGEFLEET_{name.upper()}`" in line]
    described = Settings.model_fields[name].description
    assert described
    assert [row for row in rows if row.endswith(f"| {described} |")], f"write its row: {described}"


def test_every_variable_that_the_code_reads_is_named() -> None:
    sources = [
        path for part in ("agent", "compression", "controller", "deploy") for path in (ROOT / part).rglob("*.py")
    ]
    read = {match["name"] for path in sources for match in VARIABLE.finditer(path.read_text())}
    pages = "\n".join(page.read_text() for page in PAGES)
    assert len(read) >= 8
    assert sorted(name for name in read - INTERNAL if not re.search(rf"{name}\b", pages)) == []


def test_every_route_is_in_the_reference() -> None:
    reference = (DOCS / "api.md").read_text()
    named = [route for route in ACCESS if f"### {route}\n" in reference or f"`{route}`" in reference]
    # HEAD is GET without a body
    assert [route for route in ACCESS if route not in named and route.replace("HEAD", "GET") not in named] == []
