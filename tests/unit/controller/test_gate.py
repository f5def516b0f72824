"""``edgefleet gate``: what passes, what fails, what stays undecided, and what programs read of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from typer.testing import CliRunner, Result

from edgefleet_controller.cli import gate as gate_command
from edgefleet_controller.cli.app import app
from edgefleet_controller.cli.gate_output import annotations, summary
from edgefleet_controller.client import Client
from edgefleet_controller.results.gate import Check, Limit, Outcome, check_limits, check_regressions
from edgefleet_controller.results.schemas import VariantRow

NULL = dict.fromkeys(VariantRow.model_fields)


def row(name: str = "int8", **changes: Any) -> dict[str, Any]:
    """A row with p50 10 ms [9.8, 10.2], p90 12 ms [11, 13], accuracy 90 % [88, 92], 1,000 bytes and no sensor."""
    latency = {
        "p50": 10.0, "p90": 12.0, "p99": None, "n": 1000, "throughput_per_s": 100.0, "confidence": 0.95,
        "intervals": {"p50": [9.8, 10.2], "p90": [11.0, 13.0]}, "launch_intervals": {}, "reasons": {"p99": "too_few_samples"},
    }  # fmt: skip
    facts = {
        "name": name, "recipe": name, "recipe_sha256": "0" * 64, "target": "onnxruntime", "variant_id": "var_1",
        "variant_state": "completed", "device_name": "pi", "settings": {}, "provenance": "measured", "size_bytes": 1000,
        "notes": [], "accuracy_device": 0.9, "accuracy_interval": [0.88, 0.92], "on_front": True,
        "latency_ms": None if changes.get("latency_ms", {}) is None else latency | changes.pop("latency_ms", {}),
        "energy": {"value_mj": None, "scope": None, "reason": "no_sensor"},
        "verdict": {"status": "valid", "reasons": []},
    }  # fmt: skip
    return {name: value for name, value in NULL.items() if name in _NULLABLE} | facts | changes


_NULLABLE = {name for name, field in VariantRow.model_fields.items() if field.is_required()}


def parsed(**changes: Any) -> VariantRow:
    return VariantRow.model_validate(row(**changes))


class TestLimits:
    @pytest.mark.parametrize(
        ("limit", "outcome"),
        [
            (Limit("latency_p90_ms", 12.5, at_most=True), Outcome.PASSED),
            (Limit("latency_p90_ms", 11.5, at_most=True), Outcome.UNDECIDED),
            (Limit("latency_p90_ms", 10.5, at_most=True), Outcome.FAILED),
            (Limit("accuracy", 0.89, at_most=False), Outcome.PASSED),
            (Limit("accuracy", 0.91, at_most=False), Outcome.UNDECIDED),
            (Limit("accuracy", 0.95, at_most=False), Outcome.FAILED),
            (Limit("size_bytes", 1000, at_most=True), Outcome.PASSED),
            (Limit("size_bytes", 999, at_most=True), Outcome.FAILED),
        ],
    )
    def test_estimate_decides_and_the_interval_says_how_surely(self, limit: Limit, outcome: Outcome) -> None:
        assert [check.outcome for check in check_limits([parsed()], [limit])] == [outcome]

    def test_figure_that_was_not_measured_fails(self) -> None:
        [check] = check_limits([parsed()], [Limit("energy_mj", 30.0, at_most=True)])
        assert (check.outcome, check.reason) == (Outcome.FAILED, "it has no gross energy per inference (mJ)")

    def test_figure_of_an_invalid_measurement_fails_however_good(self) -> None:
        bad = parsed(verdict={"status": "invalid", "reasons": ["throttled"]})
        [check] = check_limits([bad], [Limit("latency_p50_ms", 1e9, at_most=True)])
        assert check.outcome is Outcome.FAILED
        assert "throttled" in check.reason

    def test_unknown_figure_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(ValueError, match="latency_p90_ms"):
            Limit("colour", 1.0, at_most=True)


class TestRegressions:
    @pytest.mark.parametrize(
        ("p50", "outcome"), [(10.2, Outcome.PASSED), (10.4, Outcome.UNDECIDED), (11.0, Outcome.FAILED)]
    )
    def test_ratio_to_the_earlier_figure_with_its_interval(self, p50: float, outcome: Outcome) -> None:
        # both have a relative error of 1.02 %, so their ratio's 95 % half width is 2.8 %
        now = parsed(latency_ms={"p50": p50, "intervals": {"p50": [p50 - 0.2, p50 + 0.2]}})
        found = {check.question: check.outcome for check in check_regressions([now], [parsed()], allowed=0.03)}
        assert found["latency_p50_ms at most 0.03 worse"] is outcome

    def test_less_accuracy_is_worse_and_more_is_not(self) -> None:
        for accuracy, outcome in ((0.60, Outcome.FAILED), (0.99, Outcome.PASSED)):
            now = parsed(accuracy_device=accuracy, accuracy_interval=[accuracy - 0.01, accuracy + 0.01])
            found = {check.question: check.outcome for check in check_regressions([now], [parsed()], allowed=0.03)}
            assert found["accuracy at most 0.03 worse"] is outcome

    def test_row_that_was_not_there_before_is_skipped(self) -> None:
        [check] = check_regressions([parsed(name="new")], [parsed()], allowed=0.03)
        assert check.outcome is Outcome.SKIPPED

    def test_figure_that_the_earlier_job_lacks_is_not_compared(self) -> None:
        now = parsed(energy={"value_mj": 5.0, "scope": "board_5v_input", "reason": None})
        assert not [c for c in check_regressions([now], [parsed()], allowed=0.03) if "energy" in c.question]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command against a controller that knows two jobs."""
    slower = {"p50": 20.0, "intervals": {"p50": [19.8, 20.2]}}
    simulated = row("joint", provenance="simulated", latency_ms={"p50": 1.0, "p90": 1.0})
    jobs = {"job_1": [row(), row("prune50")], "job_2": [row(latency_ms=slower)], "job_3": [row("other"), simulated]}
    known = {
        name: {"id": name, "name": "net" if name != "job_3" else "other", "state": "completed", "created_at": name}
        for name in ("job_3", "job_2", "job_1")
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jobs":
            return httpx.Response(200, json={"items": list(known.values()), "next_cursor": None})
        if request.url.path.startswith("/v1/jobs/"):
            return httpx.Response(200, json=known[request.url.path.rpartition("/")[2]])
        return httpx.Response(200, json={"items": jobs[request.url.params["job"]], "next_cursor": None})

    def open_client(_url: object, _data_dir: object) -> Client:
        return Client("http://controller", "eot_x", transport=httpx.MockTransport(answer))

    monkeypatch.setattr(gate_command, "open_client", open_client)
    return lambda *arguments: CliRunner().invoke(app, ["gate", *arguments])


class TestCommand:
    def test_passes_in_silence_of_standard_error(self, run: Callable[..., Result]) -> None:
        done = run("job_1", "--max", "latency_p90_ms=20", "--min", "accuracy=0.9")
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.count("passed") == 4

    def test_fails_with_the_reasons(self, run: Callable[..., Result]) -> None:
        done = run("job_2", "--against", "job_1", "--max-regression", "3%")
        assert done.exit_code == 1
        assert "gate_failed: 1 of 3 checks do not hold" in done.stderr
        assert "10 -> 20" in done.stderr

    def test_undecided_fails_only_if_asked(self, run: Callable[..., Result]) -> None:
        arguments = ("job_1", "--variant", "int8", "--max", "latency_p90_ms=11.5")
        assert run(*arguments).exit_code == 0
        assert run(*arguments, "--strict").exit_code == 1

    def test_writes_junit_and_annotations(self, run: Callable[..., Result], tmp_path: Path) -> None:
        path = tmp_path / "gate.xml"
        done = run("job_1", "--max", "size_bytes=999", "--max", "latency_p50_ms=99", "--junit", str(path), "--github")
        suite = ElementTree.parse(path).getroot()
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "0")
        assert len(suite.findall("testcase/failure")) == 2
        assert done.stdout.count("::error title=") == 2

    def test_without_a_job_the_newest_of_the_name_is_checked_against_the_one_before(
        self, run: Callable[..., Result]
    ) -> None:
        """The call that another project's CI makes: it knows no identifier."""
        done = run("--name", "net", "--max", "latency_p90_ms=20", "--max-regression", "3%")
        assert done.exit_code == 1
        assert "10 -> 20" in done.stderr

    def test_first_job_of_a_name_has_nothing_to_regress_from_and_passes(self, run: Callable[..., Result]) -> None:
        done = run("job_1", "--max-regression", "3%", "--json")
        assert done.exit_code == 0
        assert [check["outcome"] for check in json.loads(done.stdout)] == ["skipped"]

    def test_figures_that_were_not_measured_are_named_and_do_not_count(self, run: Callable[..., Result]) -> None:
        checks = json.loads(run("job_3", "--max", "latency_p90_ms=20", "--json").stdout)
        assert [(check["row"], check["outcome"]) for check in checks] == [("other", "passed"), ("joint", "skipped")]
        assert run("job_3", "--variant", "joint", "--max", "latency_p90_ms=20").exit_code == 1
        asked = run("job_3", "--variant", "joint", "--max", "latency_p90_ms=20", "--provenance", "simulated")
        assert asked.exit_code == 0

    def test_summary_for_github_holds_no_markup_of_names(
        self, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "summary.md"
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
        assert run("job_1", "--max", "size_bytes=999", "--github").exit_code == 1
        assert path.read_text().count("| failed |") == 2
        check = Check("<b>|x", "@all", "q", Outcome.FAILED, "50 %: a,b")
        assert "\\<b\\>\\|x" in summary([check])
        assert annotations([check]) == "::error title=<b>|x::<b>|x on @all: q is failed: 50 %25: a,b\n"

    def test_two_forms_for_programs_are_refused(self, run: Callable[..., Result]) -> None:
        assert run("job_1", "--max", "size_bytes=999", "--json", "--csv").exit_code == 2

    def test_json_is_the_checks(self, run: Callable[..., Result]) -> None:
        checks = json.loads(run("job_1", "--max", "size_bytes=1000", "--json").stdout)
        assert {check["outcome"] for check in checks} == {"passed"}

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ((), "gate_without_checks"),
            (("--against", "job_2"), "gate_incomplete"),
            (("--max", "colour=1"), "gate_limit_invalid"),
            (("--max", "size_bytes"), "gate_limit_invalid"),
            (("--max", "size_bytes=nan"), "gate_limit_invalid"),
            (("--against", "job_2", "--max-regression", "-1%"), "gate_limit_invalid"),
        ],
    )
    def test_call_that_cannot_work_is_refused_before_anything_is_asked(
        self, run: Callable[..., Result], arguments: tuple[str, ...], code: str
    ) -> None:
        done = run("job_1", *arguments)
        assert done.exit_code == 2
        assert code in done.stderr

    def test_no_matching_row_is_no_pass(self, run: Callable[..., Result]) -> None:
        done = run("job_1", "--variant", "typo", "--max", "size_bytes=1000")
        assert done.exit_code == 1
        assert "gate_without_rows" in done.stderr
