"""``edgefleet search`` and ``edgefleet study`` against a controller that answers by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from edgefleet_controller.cli import searches
from edgefleet_controller.cli.app import app
from edgefleet_controller.client import Client, StudyDidNotComplete

JsonObject = dict[str, Any]
STUDY: JsonObject = {
    "id": "stu_1",
    "name": "s",
    "state": "completed",
    "version": 1,
    "progress": 1.0,
    "message": "",
    "error": None,
    "trials": {"completed": 1, "failed": 0, "running": 0, "cancelled": 0},
}


def estimate(value: float, error: float = 0.0) -> JsonObject:
    return {"value": value, "standard_error": error, "interval": [value - 1.96 * error, value + 1.96 * error]}


def report(**changes: Any) -> JsonObject:
    values = {"latency_p50_ms": estimate(12.5, 0.1), "size_bytes": estimate(120_000)}
    speedup = estimate(2.0, 0.02)
    entry = {"trial": 3, "values": values, "probability_feasible": 0.99, "devices": [{"speedup_p50": speedup}]}
    board = {
        "board": "raspberry-pi-4",
        "left_out": None,
        "trials": {"completed": 4, "failed": 1},
        "front": [],
        "check": {"finalists": [entry]},
        "recommended": {"trial": 3, "why": ["nearest to the best"], "artifact_sha256": "a" * 64},
        "failures": [{"code": "nothing_to_compile", "message": "no", "trials": [2]}],
    }
    away = {"board": "jetson-nano", "left_out": {"code": "no_target", "message": "No target runs on it."}}
    return {"state": "completed", "partial": False, "boards": [away, board | changes]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, list[JsonObject]]]:
    """Runs a command against a study that has ended; returns the outcome and the bodies that were sent."""

    def invoke(*arguments: str, study: JsonObject = STUDY) -> tuple[Result, list[JsonObject]]:
        bodies: list[JsonObject] = []

        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                bodies.append(json.loads(request.content))
            return httpx.Response(200, json=report() if request.url.path.endswith("/report") else study)

        client = Client("http://controller", "eot_x", transport=httpx.MockTransport(answer))
        monkeypatch.setattr(searches, "open_client", lambda _url, _data_dir: client)
        return CliRunner().invoke(app, list(arguments)), bodies

    return invoke


def test_bounds_become_constraints_in_the_units_of_the_api(run: Callable[..., Any]) -> None:
    bounds = ["--max-latency-p90-ms", "20", "--max-size", "5MB", "--min-retention", "0.99", "--max-energy-mj", "30"]
    outcome, [body] = run(
        "search", "net", *bounds, "--constraint", "peak_memory_bytes<=1e8", "--trials", "7", "--seed", "2"
    )
    assert outcome.exit_code == 0, outcome.output
    assert sorted(body["constraints"]) == [
        "energy_mj<=30.0",
        "latency_p90_ms<=20.0",
        "peak_memory_bytes<=1e8",
        "retention>=0.99",
        "size_bytes<=5000000",
    ]
    assert (body["n_trials"], body["seed"], body["reuse"], body["sampler"]) == (7, 2, True, "tpe")


@pytest.mark.parametrize(
    ("text", "expected"), [("5MB", 5_000_000), ("800 kB", 800_000), ("1234", 1234), ("1.5GB", 1_500_000_000)]
)
def test_sizes_are_of_powers_of_ten(text: str, expected: int) -> None:
    assert searches.read_size(text) == expected


def test_what_is_no_size_or_no_space_is_refused_with_a_code(run: Callable[..., Any], tmp_path: Path) -> None:
    outcome, bodies = run("search", "net", "--max-size", "5 miles")
    assert (outcome.exit_code, bodies) == (2, [])
    assert "size_invalid" in outcome.output
    outcome, bodies = run("search", "net", "--space", str(tmp_path / "none.json"))
    assert (outcome.exit_code, bodies) == (2, [])
    assert "space_unreadable" in outcome.output


def test_watching_prints_what_was_found_on_each_kind_of_board(run: Callable[..., Any]) -> None:
    outcome, _ = run("search", "net", "--watch")
    assert outcome.exit_code == 0, outcome.output
    for part in (
        "raspberry-pi-4",
        "3 *",
        "12.5 ± 0.2",
        "120",
        "2.00x [1.96, 2.04]",
        "Recommended: trial 3",
        "No target runs on it.",
    ):
        assert part in outcome.output
    assert "1 trials failed with nothing_to_compile" in outcome.output


def test_a_study_that_failed_ends_the_command_with_its_reason(run: Callable[..., Any]) -> None:
    error = {"code": "deadline_exceeded", "message": "too late"}
    outcome, _ = run("study", "watch", "stu_1", study=STUDY | {"state": "failed", "error": error})
    assert outcome.exit_code == 1
    assert "deadline_exceeded" in outcome.output


def client_of(study: JsonObject, found: JsonObject) -> Client:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=found if request.url.path.endswith("/report") else study)

    return Client("http://controller", "eot_x", transport=httpx.MockTransport(answer))


def test_a_study_of_the_client_gives_what_is_recommended() -> None:
    study = client_of(STUDY, report()).open_study("stu_1").wait()
    chosen = study.recommended()
    assert chosen is not None
    assert (chosen["trial"], chosen["artifact_sha256"]) == (3, "a" * 64)
    with pytest.raises(KeyError, match="coral"):
        study.recommended("coral")


def test_waiting_for_a_study_that_failed_raises_its_code() -> None:
    error = {"code": "deadline_exceeded", "message": "too late"}
    with pytest.raises(StudyDidNotComplete, match="study summary stu_1") as caught:
        client_of(STUDY | {"state": "failed", "error": error}, report()).open_study("stu_1").wait()
    assert caught.value.code == "deadline_exceeded"
