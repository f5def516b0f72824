"""One headless Chromium and one seeded controller for all tests of the pages."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.browser.seeding import Seeded, seed, serving

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SERIOUS = ("serious", "critical")
PATIENCE_MS = 60_000
"""For a loaded machine; what is there is found at once."""


def find_chromium() -> str | None:
    """The browser of this host."""
    return next((path for name in CHROMIUM if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; skipped where there is none, unless CI says that there has to be one."""
    path = find_chromium()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium: .ci/run installs Debian's package")
        pytest.skip("no Chromium (Debian: apt install chromium)")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')"
    )
    with playwright.sync_playwright() as driver:
        # in a container there is no user namespace for Chromium's own sandbox; it sees our own pages only
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A controller with boards, jobs and runs."""
    with serving(tmp_path_factory.mktemp("browser") / "data") as fleet:
        yield seed(fleet)


@dataclass
class Visit:
    """A browser's tab, and what went wrong in it: errors on the console, and violations of the content policy."""

    page: Any
    url: str
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> Any:
        """Load a page and wait until its scripts have run and its charts are drawn."""
        self.page.goto(self.url + path, wait_until="load")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait for the charts of the page."""
        self.page.locator("[data-chart]:not([data-state])").first.wait_for(state="detached")

    def violations(self) -> list[str]:
        """Serious findings of axe-core on the page as it is now."""
        if not self.page.evaluate("typeof axe !== 'undefined'"):
            # evaluated by the driver, not inserted as a script: the page's policy stays as it is
            self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{item['id']}: {item['help']}: {[node['html'][:160] for node in item['nodes'][:3]]}"
            for item in found["violations"]
            if item["impact"] in SERIOUS
        ]


def _watch(visit: Visit) -> None:
    def on_console(message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:  # an error page is meant to have that status
            visit.problems.append(f"console: {message.text}")

    visit.page.on("console", on_console)
    visit.page.on("pageerror", lambda error: visit.problems.append(f"script: {error}"))
    visit.page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error("
        "'policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile + ':' + event.lineNumber))"
    )


@pytest.fixture(scope="module")
def signed_in(chromium: Any, seeded: Seeded) -> Any:
    """Cookies of a person who signed in with the operator token, by the form."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{seeded.fleet.url}/login?next=%2Fjobs")
    page.fill("#token", seeded.fleet.services.operator_token)
    page.click("text=Sign in with the token")
    page.wait_for_url("**/jobs")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="module")
def shared_context(chromium: Any, signed_in: Any) -> Iterator[Any]:
    """Cookies and storage that most tests share: a context of its own costs each of them as much as a page."""
    context = chromium.new_context(storage_state=signed_in, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


def _visit(context: Any, url: str) -> Iterator[Visit]:
    tab = Visit(context.new_page(), url)
    _watch(tab)
    yield tab
    tab.page.close()
    assert tab.problems == []


@pytest.fixture
def visit(shared_context: Any, seeded: Seeded) -> Iterator[Visit]:
    """A signed-in tab; the test fails if the page reported an error or violated its policy."""
    yield from _visit(shared_context, seeded.fleet.url)


@pytest.fixture
def private_visit(chromium: Any, signed_in: Any, seeded: Seeded) -> Iterator[Visit]:
    """The same with cookies and storage of its own, for tests that change them."""
    context = chromium.new_context(storage_state=signed_in)
    context.set_default_timeout(PATIENCE_MS)
    yield from _visit(context, seeded.fleet.url)
    context.close()
