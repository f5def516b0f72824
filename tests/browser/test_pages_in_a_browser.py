"""Each page by its main job, in a real browser: no error on the console, no violated policy, nothing serious for axe."""

import re

from tests.browser.conftest import Visit
from tests.browser.seeding import HOSTILE, Seeded


def test_the_fleet_shows_boards_and_lets_one_be_accepted(visit: Visit, seeded: Seeded) -> None:
    page = visit.open("/fleet")
    assert visit.violations() == []
    row = page.locator("tr", has_text="new-coral")
    assert "pending" in row.inner_text()
    row.get_by_role("button", name="Accept").click()
    page.wait_for_url("**/fleet")
    assert "active" in page.locator("tr", has_text="new-coral").inner_text()


def test_the_fleet_changes_by_itself(visit: Visit, seeded: Seeded) -> None:
    page = visit.open("/fleet")
    page.locator("[data-live-state]").get_by_text("Live", exact=True).wait_for()
    seeded.fleet.post("/v1/devices/nano-1/hold", {"reason": "fan fails"})
    page.locator("tr", has_text="nano-1").get_by_text("fan fails").wait_for()
    seeded.fleet.post("/v1/devices/nano-1/release")
    page.locator("tr", has_text="nano-1").get_by_role("button", name="Hold").wait_for()


def test_a_board_is_registered_with_the_line_that_enrols_it(visit: Visit) -> None:
    page = visit.open("/fleet")
    page.get_by_text("Register another board").click()
    page.fill("#name", "from-the-page")
    page.get_by_role("button", name=re.compile("Register and show")).click()
    assert "--join-token ejt_" in page.locator("#enrol-line").inner_text()
    assert visit.violations() == []


def test_markup_in_names_and_labels_is_text(visit: Visit, seeded: Seeded) -> None:
    page = visit.open("/fleet")
    assert page.get_by_text(HOSTILE).first.is_visible()
    assert page.locator("img").count() == 0
