"""The pages: sign-in, escaping, and what a browser is told not to do."""

from collections.abc import Iterator

import httpx
import pytest
from tests.integration.controller.conftest import Fleet, latency_blob, make_report

HTML = {"Accept": "text/html"}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def browser(fleet: Fleet) -> Iterator[httpx.Client]:
    """A signed-in browser."""
    with fleet.client(HTML) as client:
        answer = client.post("/login", data={"token": fleet.services.operator_token})
        assert answer.status_code == 303
        yield client


def test_a_stranger_is_sent_to_sign_in(fleet: Fleet) -> None:
    answer = fleet.anonymous.get("/", headers=HTML)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    deep = fleet.anonymous.get("/jobs?limit=3", headers=HTML)
    assert deep.headers["Location"] == "/login?next=%2Fjobs%3Flimit%3D3"
    assert 'type="password"' in fleet.anonymous.get("/login").text


def test_a_wrong_token_does_not_sign_in(fleet: Fleet) -> None:
    answer = fleet.anonymous.post("/login", data={"token": "eot_wrong"})
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers


def test_the_cookie_is_not_the_token_and_is_kept_from_scripts(fleet: Fleet) -> None:
    answer = fleet.anonymous.post("/login", data={"token": fleet.services.operator_token})
    cookie = answer.headers["Set-Cookie"]
    assert fleet.services.operator_token not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_a_token_in_an_address_does_not_sign_in(fleet: Fleet) -> None:
    answer = fleet.anonymous.get("/login", params={"token": fleet.services.operator_token})
    assert "Set-Cookie" not in answer.headers


def test_a_forged_cookie_is_refused(fleet: Fleet) -> None:
    answer = fleet.anonymous.get("/fleet", headers={**HTML, "Cookie": "edgefleet_session=0"})
    assert answer.status_code == 303


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_a_change_by_cookie_must_come_from_our_own_pages(
    fleet: Fleet, browser: httpx.Client, origin: str | None
) -> None:
    fleet.add_device()
    job = fleet.add_job()
    headers = {"Origin": origin} if origin else {}
    answer = browser.post(f"/v1/jobs/{job['id']}/cancel", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert browser.post(f"/v1/jobs/{job['id']}/cancel", headers={"Origin": fleet.url}).status_code == 202


def test_signing_out_forgets_the_cookie(fleet: Fleet, browser: httpx.Client) -> None:
    assert browser.get("/fleet").status_code == 200
    assert browser.post("/logout", headers={"Origin": fleet.url}).status_code == 303
    assert browser.get("/fleet").status_code == 303


def test_a_copied_cookie_is_worth_nothing_after_signing_out(fleet: Fleet, browser: httpx.Client) -> None:
    copied = {**HTML, "Cookie": f"edgefleet_session={browser.cookies['edgefleet_session']}"}
    assert fleet.anonymous.get("/fleet", headers=copied).status_code == 200
    browser.post("/logout", headers={"Origin": fleet.url})
    assert fleet.anonymous.get("/fleet", headers=copied).status_code == 303


def test_a_session_ends_by_itself(fleet: Fleet, browser: httpx.Client) -> None:
    fleet.clock.advance(fleet.services.settings.session_s)
    assert browser.get("/fleet").status_code == 303


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_change_that_the_browser_says_comes_from_elsewhere_is_refused(
    fleet: Fleet, browser: httpx.Client, site: str
) -> None:
    answer = browser.post("/v1/join-tokens", json={}, headers={"Origin": fleet.url, "Sec-Fetch-Site": site})
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")


def test_what_people_and_devices_send_is_escaped(fleet: Fleet, browser: httpx.Client) -> None:
    device = fleet.add_device()
    job = fleet.add_job(name=HOSTILE)
    _, artifact = fleet.enqueue(job, device)
    order = device.order()
    failed = dict.fromkeys(("latency_ms", "energy", "accuracy", "memory")) | {"samples": {}}
    error = {"code": "runner_crashed", "message": HOSTILE}
    report = make_report(artifact, **failed, verdict={"status": "invalid"}, error=error)
    assert device.report(order, report).status_code == 200
    for path in ("/jobs", f"/jobs/{job['id']}"):
        page = browser.get(path).text
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page


def test_a_job_s_page_has_the_table_and_the_front(fleet: Fleet, browser: httpx.Client) -> None:
    device, job = fleet.add_device("bench"), fleet.add_job(("baseline", "int8"))
    _, artifact = fleet.enqueue(job, device)
    order = device.order()
    device.upload(latency_blob())
    assert device.report(order, make_report(artifact)).status_code == 200
    page = browser.get(f"/jobs/{job['id']}").text
    assert 'id="job-front"' in page
    assert "Accuracy against latency as a table" in page
    assert "97.00 %" in page
    assert "no_sensor" in page
    assert "<script>" not in page


def test_the_front_of_a_large_job_has_the_same_figures_without_their_errors(
    fleet: Fleet, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, job = fleet.add_device("bench"), fleet.add_job(("baseline",))
    _, artifact = fleet.enqueue(job, device)
    order = device.order()
    device.upload(latency_blob())
    assert device.report(order, make_report(artifact)).status_code == 200
    path = f"/front/points.json?job={job['id']}"
    [small] = browser.get(path).json()["points"]
    monkeypatch.setattr("edgefleet_controller.results.points.MAX_WITH_ERRORS", 0)
    [large] = browser.get(path).json()["points"]
    assert {name: values[:1] for name, values in small.pop("figures").items()} == large.pop("figures")
    assert small == large
    page = browser.get(f"/front?job={job['id']}").text
    assert "1 of 1 results are on the front." in page


def test_pages_allow_our_own_scripts_only_and_no_framing(browser: httpx.Client) -> None:
    policy = browser.get("/fleet").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_an_unknown_job_has_a_page_that_says_so(browser: httpx.Client) -> None:
    answer = browser.get("/jobs/x")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def test_what_is_wrong_with_a_filter_is_said_on_a_page(browser: httpx.Client) -> None:
    answer = browser.get("/jobs", params={"limit": "many"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "text/html; charset=utf-8")
    assert "limit: Input should be a valid integer" in answer.text


def test_an_address_that_leads_nowhere_has_a_page(browser: httpx.Client) -> None:
    answer = browser.get("/nowhere")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_signing_in_leads_nowhere_else(fleet: Fleet, wanted: str) -> None:
    answer = fleet.anonymous.post("/login", data={"token": fleet.services.operator_token, "next": wanted})
    assert answer.headers["Location"] == "/fleet"
