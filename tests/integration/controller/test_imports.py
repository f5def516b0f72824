"""Profiles of other tools beside one's own: labelled, out of fronts unless asked for, and refused where they are none."""

import io
import json
import zipfile
from typing import Any

import httpx
import pytest
from tests.integration.controller.conftest import Fleet

from edgefleet_agent.wire.reasons import Reason
from edgefleet_controller.blobs.references import find_references

JsonObject = dict[str, Any]
N = 700


def times(n: int = N) -> bytes:
    """trtexec's times: 10.00 ms to 10.69 ms, evenly."""
    return json.dumps([{"latencyMs": 10 + 0.001 * i, "computeMs": 9.0} for i in range(n)]).encode()


def wanted(fleet: Fleet, data: bytes | None = None, **changes: Any) -> JsonObject:
    body = {"format": "trtexec-times", "model": "net", "device_name": "their-orin", "name": "net-fp16"}
    return body | {"blob_sha256": fleet.upload(times() if data is None else data)} | changes


@pytest.fixture
def fleet_with_model(fleet: Fleet) -> Fleet:
    fleet.post("/v1/models", {"name": "net", "blob_sha256": fleet.upload(b"model")})
    return fleet


def test_a_profile_becomes_a_labelled_result(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    imported = fleet.post("/v1/imports", wanted(fleet, accuracy=0.7596, board="jetson-orin-nano"))
    row = imported["row"]
    assert (row["provenance"], row["name"], row["device_name"]) == ("imported", "net-fp16", "their-orin")
    assert row["latency_ms"]["n"] == N
    assert row["latency_ms"]["p50"] == pytest.approx(10.3495)
    assert row["latency_ms"]["p99"] == pytest.approx(10.692, abs=1e-3)
    assert row["verdict"] == {"status": "suspect", "reasons": [Reason.IMPORTED.value]}
    assert row["accuracy_device"] == 0.7596
    assert row["energy"] == {"value_mj": None, "expanded_uncertainty_mj": None, "scope": None, "reason": "not_measured"}
    assert row["on_front"] is False
    assert imported["facts"] == {"tool": "trtexec", "median_compute_ms": 9.0}


def test_the_same_profile_is_kept_once(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    body = wanted(fleet)
    first = fleet.operator.post("/v1/imports", json=body)
    again = fleet.operator.post("/v1/imports", json=body)
    other = fleet.operator.post("/v1/imports", json=body | {"batch": 8})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 201)
    assert again.json()["job"] == first.json()["job"] != other.json()["job"]


def test_imported_figures_are_in_no_front_unless_asked_for(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    job = fleet.post("/v1/imports", wanted(fleet, accuracy=0.75))["job"]
    front = fleet.get("/v1/front", job=job)
    assert front["points"] == []
    assert front["left_out"][0]["reason"] == "its figures are imported"
    asked = fleet.get("/v1/front", job=job, provenance="imported")
    assert [(point["y"], point["on_front"]) for point in asked["points"]] == [(0.75, True)]


def test_what_stands_for_a_device_is_no_board(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    imported = fleet.post("/v1/imports", wanted(fleet))
    assert fleet.get("/v1/devices")["items"] == []
    assert fleet.get("/v1/devices/their-orin")["kind"] == "imported"
    assert fleet.operator.post("/v1/join-tokens", json={"device": "their-orin"}).status_code == 409
    refused = fleet.operator.post("/v1/jobs", json={"model": "net", "recipes": ["baseline"], "devices": ["their-orin"]})
    assert refused.json()["code"] == "unknown_device"
    again = fleet.operator.post(f"/v1/jobs/{imported['job']}/remeasure", json={})
    assert (again.status_code, again.json()["code"]) == (422, "nothing_to_measure")


def test_a_board_of_the_fleet_is_not_taken_for_another_tool_s(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    fleet.add_device("bench-1")
    answer = fleet.operator.post("/v1/imports", json=wanted(fleet, device_name="bench-1"))
    assert (answer.status_code, answer.json()["code"]) == (409, "device_is_a_board")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"data": b"not a profile"}, 422, "profile_refused"),
        ({"data": b"[]"}, 422, "profile_refused"),
        ({"format": "nvprof"}, 422, "unknown_profile_format"),
        ({"model": "nobody's"}, 422, "unknown_model"),
        ({"blob_sha256": "0" * 64}, 422, "blob_missing"),
        ({"device_name": "<b>"}, 422, "invalid_request"),
        ({"file_name": "../x"}, 422, "invalid_request"),
        ({"accuracy": 1.5}, 422, "invalid_request"),
    ],
)
def test_a_bad_import_is_refused_and_leaves_nothing(
    fleet_with_model: Fleet, changes: JsonObject, status: int, code: str
) -> None:
    fleet = fleet_with_model
    data = changes.pop("data", None) if "data" in changes else None
    answer = fleet.operator.post("/v1/imports", json=wanted(fleet, data) | changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert fleet.get("/v1/jobs")["items"] == []


def test_a_viewer_imports_nothing(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    body = wanted(fleet)
    with fleet.client(fleet.add_user("viewer")) as viewer:
        assert viewer.post("/v1/imports", json=body).status_code == 403


def test_another_project_sees_and_reads_nothing_of_it(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    body = wanted(fleet)
    job = fleet.post("/v1/imports", body)["job"]
    fleet.post("/v1/projects", {"name": "others"})
    with fleet.client(fleet.add_user("operator", "others")) as stranger:
        assert stranger.get("/v1/results", params={"job": job}).status_code == 404
        assert stranger.post("/v1/imports", json=body).status_code == 422


def test_pages_say_where_the_figures_come_from(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    imported = fleet.post("/v1/imports", wanted(fleet, accuracy=0.75, file_name="times.json"))
    job, run = imported["job"], imported["row"]["run_id"]
    with fleet.client({"Accept": "text/html"}) as browser:
        browser.post("/login", data={"token": fleet.services.operator_token})
        page = browser.get(f"/runs/{run}").text
        assert "These figures are imported, not measured." in page
        assert "Measure it again" not in page
        assert "no board of this fleet" in browser.get(f"/devices/{imported['device_id']}").text
        assert browser.get(f"/jobs/{job}").status_code == 200
        assert "their-orin" not in browser.get("/fleet").text
        assert "net-fp16" in browser.get("/results", params={"provenance": "imported"}).text
        assert f'href="/runs/{run}"' in browser.get("/front", params={"job": job}).text
        _shows_beside_a_job_of_the_same_model(fleet, browser, run)
        bundle = zipfile.ZipFile(io.BytesIO(browser.get(f"/runs/{run}/bundle.zip").content))
    assert bundle.read("times.json") == times()
    assert "Imported from another tool" in bundle.read("README.txt").decode()


def _shows_beside_a_job_of_the_same_model(fleet: Fleet, browser: httpx.Client, run: str) -> None:
    fleet.add_device()
    own = fleet.post("/v1/jobs", {"model": "net", "recipes": ["baseline"]})["id"]
    without = browser.get("/front", params={"job": own}).text
    ticked = browser.get("/front", params={"job": own, "imported": "true"}).text
    assert (f'href="/runs/{run}"' in without, f'href="/runs/{run}"' in ticked) == (False, True)


def test_files_of_an_import_are_kept_by_the_collection_of_garbage(fleet_with_model: Fleet) -> None:
    fleet = fleet_with_model
    body = wanted(fleet)
    fleet.post("/v1/imports", body)
    with fleet.services.database.reading() as session:
        assert find_references(session, [body["blob_sha256"]], None).kept == {body["blob_sha256"]}
