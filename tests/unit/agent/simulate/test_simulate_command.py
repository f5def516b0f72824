"""``edgefleet-agent simulate`` without a controller, and what it refuses."""

import json
from pathlib import Path

import pytest

from edgefleet_agent.cli import main
from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.loop.identity import Identity, save_identity
from edgefleet_agent.simulate.fleet import FleetPlan, describe_board, make_members
from edgefleet_agent.wire.messages import EnrolResponse

ROW = {"kind": "dense", "macs": 12_150_000, "weight_bytes": 0, "activation_elements": 0}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"precision": "fp32", "operators": [ROW]}))
    return path


def test_table_is_simulated_and_labelled(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--board", "raspberry-pi-4", "--table", str(table)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("SIMULATED raspberry-pi-4")
    # 24.3 MFLOP at 24.3 GFLOP/s and 30 us
    assert "1.0300 ms undisturbed" in printed


def test_precision_the_board_lacks_is_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--board", "coral-dev-board", "--table", str(table)]) == 1
    assert "settings_invalid: coral-dev-board" in capsys.readouterr().err


def test_unknown_board_is_refused_before_a_token_is_used(tmp_path: Path) -> None:
    plan = FleetPlan("commodore-64", 1, tmp_path, controller="http://127.0.0.1:1", join_tokens=["ejt_x"])
    with pytest.raises(SettingsInvalid, match="commodore-64"):
        make_members(plan)


def test_fleet_without_boards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="--count 0"):
        FleetPlan("raspberry-pi-4", 0, tmp_path)


def test_missing_controller_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="--controller"):
        make_members(FleetPlan("raspberry-pi-4", 1, tmp_path, join_tokens=["ejt_x"]))


def test_facts_say_that_the_board_is_simulated(tmp_path: Path) -> None:
    facts = describe_board(FleetPlan("jetson-nano", 1, tmp_path), 1)
    assert facts.system.startswith("simulated")
    assert facts.labels["simulated"] == "yes"
    assert facts.sensors == [{"kind": "ina3221", "scope": "module_input", "provenance": "simulated"}]
    assert {runtime.version for runtime in facts.runtimes} == {"simulated"}


class TestTokens:
    """Which board gets which join token."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> Path:
        """The first of two boards is enrolled with controller ``http://one``."""
        folder = tmp_path / "sim-raspberry-pi-4-1"
        folder.mkdir()
        answer = EnrolResponse(device_id="d", name="n", credential="c", heartbeat_s=1, poll_wait_s=1)
        save_identity(folder, Identity(controller="http://one", enrolment=answer))
        return tmp_path

    def tokens(self, state: Path, controller: "str | None", *given: str) -> "list[str | None]":
        members = make_members(FleetPlan("raspberry-pi-4", 2, state, controller=controller, join_tokens=given))
        return [member.settings.join_token for member in members]

    def test_new_boards_are_served_first(self, state: Path) -> None:
        assert self.tokens(state, "http://one", "a") == [None, "a"]

    def test_the_rest_serves_boards_whose_credential_may_be_gone(self, state: Path) -> None:
        assert self.tokens(state, "http://one", "a", "b") == ["b", "a"]

    def test_another_controller_needs_a_token_for_each(self, state: Path) -> None:
        assert self.tokens(state, "http://two", "a", "b") == ["a", "b"]
        with pytest.raises(SettingsInvalid, match="no join token"):
            self.tokens(state, "http://two", "a")
