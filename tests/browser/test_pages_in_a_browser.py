"""Each page by its main job, in a real browser: no error on the console, no violated policy, nothing serious for axe."""

import re
import zipfile
from pathlib import Path

import pytest
from tests.browser.conftest import Visit
from tests.browser.seeding import HOSTILE, Seeded

from edgefleet_controller.jobs.events import record_event


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


def test_a_board_has_its_history_and_its_facts(visit: Visit, seeded: Seeded) -> None:
    page = visit.open(f"/devices/{seeded.devices['kitchen-pi']}")
    assert page.locator("#latency-history").get_attribute("data-state") == "drawn"
    assert page.locator("#energy-history svg").count() == 1
    assert "+8.0 %" in page.locator("#latency-history svg").text_content()
    assert "joint, 18 runs" in page.locator("#artifact").inner_text()
    assert visit.violations() == []


def test_a_run_shows_its_samples_and_how_far_to_trust_it(visit: Visit, seeded: Seeded) -> None:
    page = visit.open(f"/runs/{seeded.run_id}")
    for chart in ("latency-histogram", "latency-series", "power-trace", "memory-phases", "operator-bars"):
        assert page.locator(f"#{chart}").get_attribute("data-state") == "drawn", chart
    assert "edgefleet-agent bench model.onnx" in page.locator("#again-line").inner_text()
    with page.expect_download() as download:
        page.get_by_text("Bundle to reproduce it").click()
    with zipfile.ZipFile(download.value.path()) as bundle:
        assert {"README.txt", "report.json", "order.json", "model.onnx", "samples/power.edgefleet-samples"} <= set(
            bundle.namelist()
        )
    assert visit.violations() == []


def test_a_comparison_says_which_file_is_faster_and_how_far_to_trust_it(visit: Visit, seeded: Seeded) -> None:
    page = visit.open("/results")
    page.get_by_text("Measured in turns").click()
    page.get_by_role("link", name="baseline with int8").click()
    row = page.locator("tr", has_text="kitchen-pi").inner_text()
    assert "B is faster" in row
    assert "0.430" in row
    assert "Other processes used more than a quarter of a core" in page.inner_text("main")
    assert visit.violations() == []


def test_a_failed_run_says_what_to_do(visit: Visit, seeded: Seeded) -> None:
    page = visit.open(f"/runs/{seeded.failed_run_id}")
    assert "The runtime raised an exception or died by a signal." in page.inner_text("main")
    assert HOSTILE in page.inner_text("main")
    assert page.locator("img").count() == 0


def test_a_chart_is_exported(visit: Visit, seeded: Seeded) -> None:
    page = visit.open(f"/runs/{seeded.run_id}")
    for kind, begin in (("png", b"\x89PNG"), ("svg", b"<svg"), ("csv", b"latency")):
        with page.expect_download() as download:
            page.locator(f"#latency-histogram [data-export={kind}]").click()
        assert download.value.suggested_filename == f"edgefleet-latency-histogram.{kind}"
        assert Path(download.value.path()).read_bytes().lstrip(b'"').startswith(begin), kind


def test_a_job_is_followed_live_and_cancelled(visit: Visit, seeded: Seeded) -> None:
    page = visit.open(f"/jobs/{seeded.live_job_id}")
    assert page.locator("#curves-loss").get_attribute("data-state") == "drawn"
    assert visit.violations() == []
    page.locator("[data-live-state]").get_by_text("Live", exact=True).wait_for()
    with seeded.fleet.services.database.writing() as session:
        record_event(session, seeded.live_job_id, "compiled", "said while somebody looks")
    page.locator("#job-log").get_by_text("said while somebody looks").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    page.locator("#job-state").get_by_text("cancelling").first.wait_for()


def test_results_are_filtered_sorted_and_compared(visit: Visit, seeded: Seeded) -> None:
    page = visit.open("/results")
    page.select_option("#device", "kitchen-pi")
    page.wait_for_url("**device=kitchen-pi**")
    page.get_by_role("link", name="p50 ms").click()
    page.wait_for_url("**sort=latency_p50_ms**")
    first = page.locator("tbody tr").first.inner_text()
    assert "distill-int8" in first
    assert visit.violations() == []
    page.locator("input[name=a]").nth(0).check()
    page.locator("input[name=b]").last.check()
    page.get_by_role("button", name="Compare A with B").click()
    assert "B is worse" in page.inner_text("main")
    assert visit.violations() == []


def test_a_limit_on_the_front_leaves_a_winner_to_open(visit: Visit, seeded: Seeded) -> None:
    page = visit.open(f"/front?job={seeded.job_id}")
    assert "11 of 17 results are on the front" in page.inner_text("#front-summary")
    assert visit.violations() == []
    page.locator("#limit-accuracy").evaluate(
        "(slider) => { slider.value = 170; slider.dispatchEvent(new Event('input')); }"
    )
    summary = page.inner_text("#front-summary")
    assert "First by median latency, ms: " in summary
    assert "distill-int8" not in summary
    page.select_option("#z", "energy_mj")
    page.get_by_label("Simulated figures too").check()
    assert page.locator("#front-table tbody tr.on-front").count() > 0
    page.locator("#front-table tbody tr.on-front a").first.click()
    page.wait_for_url("**/runs/**")


def test_the_script_s_front_is_that_of_the_server(visit: Visit, seeded: Seeded) -> None:
    address = f"/front?job={seeded.job_id}&x=size_bytes&y=accuracy&z=latency_p50_ms"
    by_script = visit.open(address).locator("#front-table tr.on-front a").all_inner_texts()
    written = seeded.fleet.operator.get(address, headers={"Accept": "text/html"}).text
    by_server = re.findall(r'<tr class="on-front"><th scope="row"><a href="[^"]*">([^<]*)</a>', written)
    assert by_script
    assert sorted(by_script) == sorted(by_server)


def test_a_job_is_submitted_from_the_form(visit: Visit, seeded: Seeded) -> None:
    page = visit.open("/jobs/new")
    page.locator("#preview").get_by_text("Runs").wait_for()
    assert visit.violations() == []
    page.get_by_text("A recipe of my own").click()
    page.select_option("#recipe-kind", "structured_prune")
    page.get_by_role("button", name="Add this pass").click()
    page.get_by_label("amount", exact=True).fill("0.3")
    page.get_by_label("amount", exact=True).blur()
    assert '"amount": 0.3' in page.input_value("#own_recipe")
    page.fill("#job-name", "from the form")
    page.locator("#submit-job").click()
    page.wait_for_url(re.compile(r"/jobs/job_"))
    assert "from the form" in page.inner_text("h1")


def test_what_is_wrong_with_a_job_is_said_on_the_form(visit: Visit) -> None:
    page = visit.open("/jobs/new")
    page.get_by_text("A recipe of my own").click()
    page.fill("#own_recipe", '{"name": "mine", "passes": [{"kind": "nothing"}]}')
    page.locator("#submit-job").click()
    page.locator("#form-error").wait_for()
    assert page.input_value("#own_recipe").startswith('{"name": "mine"')


def test_a_model_is_uploaded(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"model of the browser")
    page = visit.open("/models")
    assert visit.violations() == []
    page.fill("#model-name", "uploaded")
    page.set_input_files("#model-file", tmp_path / "net.onnx")
    page.get_by_role("button", name="Upload and inspect").click()
    page.wait_for_url("**/models/mod_**")
    assert "777,290 parameters" in page.inner_text("main")


@pytest.mark.parametrize("path", ["/jobs", "/audit", "/tokens", "/users"])
def test_the_other_pages_have_nothing_serious(visit: Visit, path: str) -> None:
    page = visit.open(path)
    assert page.locator("h1").count() == 1
    assert visit.violations() == []


def test_a_user_is_added_and_gets_a_token(visit: Visit) -> None:
    page = visit.open("/users")
    page.fill("#user-name", "anna")
    page.get_by_role("button", name="Add").first.click()
    page.get_by_text("anna").first.wait_for()
    page = visit.open("/tokens")
    page.fill("#token-name", "ci")
    page.fill("#token-user", "anna")
    page.get_by_role("button", name="Make it").click()
    assert page.inner_text("#new-token").startswith("eot_")


def test_dark_colours_are_chosen_kept_and_readable(private_visit: Visit) -> None:
    page = private_visit.open("/fleet")
    page.locator("[data-switch-theme]").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    private_visit.open("/results")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert private_visit.violations() == []


def test_the_keyboard_skips_to_the_content(visit: Visit) -> None:
    page = visit.open("/fleet")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_an_ended_session_leads_to_the_sign_in_and_back(private_visit: Visit) -> None:
    page = private_visit.open("/jobs")
    page.context.clear_cookies()
    private_visit.open("/results?verdict=valid")
    assert page.url.endswith("/login?next=%2Fresults%3Fverdict%3Dvalid")
    assert private_visit.violations() == []


@pytest.mark.parametrize("path", ["/runs/run_gone", "/results?sort=nonsense", "/devices/nobody", "/front?job=gone"])
def test_what_is_gone_or_wrong_has_a_page_with_a_way_back(visit: Visit, path: str) -> None:
    page = visit.open(path)
    assert page.locator("[role=alert]").inner_text()
    assert page.get_by_text("Go back").count() == 1
