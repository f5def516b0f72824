"""``edgefleet compare``, ``aa`` and ``comparisons`` against a controller that answers by hand."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from edgefleet_controller.cli import comparisons
from edgefleet_controller.cli.app import app
from edgefleet_controller.client import Client

SHA = "a" * 64

AB = {"ratio": 0.5, "interval": [0.49, 0.51], "confidence": 0.99, "outcome": "faster", "n_pairs": 400}
AA = {"n_comparisons": 20, "n_false_positives": 1, "share": 0.05, "interval": [0.009, 0.236]}


def view(state: str = "completed", **row: Any) -> dict[str, Any]:
    filled = {
        "device_name": "pi",
        "state": state,
        "provenance": "measured",
        "comparison": None,
        "false_positives": None,
        "verdict": {"status": "suspect", "reasons": ["host_busy"]},
        "error": None,
    }
    kind = "aa" if row.get("false_positives") else "ab"
    dates = {"created_at": "2026-01-01T00:00:00Z"}
    return {"id": "cmp_1", "name": "x vs y", "kind": kind, "state": state, "results": [filled | row]} | dates


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, list[Any]]]:
    """Runs a command; the answer to everything is ``found``. Returns the outcome and the bodies that were sent."""

    def invoke(found: dict[str, Any], *arguments: str) -> tuple[Result, list[Any]]:
        bodies: list[Any] = []

        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                bodies.append(json.loads(request.content))
            is_list = request.method == "GET" and request.url.path == "/v1/comparisons"
            return httpx.Response(200, json={"items": [found], "next_cursor": None} if is_list else found)

        client = Client("http://controller", "eot_x", transport=httpx.MockTransport(answer))
        monkeypatch.setattr(comparisons, "open_client", lambda _url, _data_dir: client)
        return CliRunner().invoke(app, list(arguments)), bodies

    return invoke


def test_compare_names_artifacts_by_hash_or_by_job_and_variant(run: Callable[..., Any]) -> None:
    outcome, [body] = run(view(comparison=AB), "compare", SHA, "job_1/int8", "--device", "pi", "--threads", "2")
    assert outcome.exit_code == 0
    assert (body["a"], body["b"]) == (SHA, {"job": "job_1", "variant": "int8"})
    assert (body["kind"], body["devices"], body["settings"]) == ("ab", ["pi"], {"threads": 2, "batch": 1})
    assert "B is faster" in outcome.stdout
    assert "[0.4900, 0.5100]" in outcome.stdout
    assert "host_busy" in outcome.stdout


def test_aa_shows_the_rate_with_its_interval(run: Callable[..., Any]) -> None:
    outcome, [body] = run(view(false_positives=AA), "aa", SHA, "--comparisons", "20")
    assert (body["kind"], body["b"], body["n_comparisons"]) == ("aa", None, 20)
    assert "1 of 20" in outcome.stdout
    assert "[0.9 %, 23.6 %]" in outcome.stdout


def test_json_is_the_comparison_alone(run: Callable[..., Any]) -> None:
    outcome, _ = run(view(comparison=AB), "compare", SHA, SHA, "--json")
    assert json.loads(outcome.stdout)["results"][0]["comparison"] == AB


def test_a_comparison_that_failed_everywhere_ends_with_its_code(run: Callable[..., Any]) -> None:
    error = {"code": "artifact_unreadable", "message": "B is no model"}
    outcome, _ = run(view("failed", error=error, provenance=None), "compare", SHA, SHA)
    assert outcome.exit_code == 1
    assert "artifact_unreadable" in outcome.stderr


def test_an_artifact_that_is_named_neither_way_is_refused_before_anything_is_sent(run: Callable[..., Any]) -> None:
    outcome, bodies = run(view(), "compare", "mine.onnx", SHA)
    assert outcome.exit_code == 2
    assert bodies == []


def test_comparisons_are_listed(run: Callable[..., Any]) -> None:
    outcome, _ = run(view(comparison=AB), "comparisons")
    assert "cmp_1" in outcome.stdout
