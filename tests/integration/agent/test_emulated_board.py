"""An agent on an emulated board, and the enrolment that an installer makes."""

from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent.cli import main
from edgefleet_agent.errors import SettingsInvalid


@pytest.fixture
def emulated(rig: Any) -> Any:
    rig.facts = rig.facts.model_copy(update={"labels": {"emulator": "qemu-aarch64-static"}})
    return rig


def test_it_enrols_as_emulated(emulated: Any) -> None:
    emulated.agent().enrol()
    assert emulated.controller.calls("enrol")[0]["device_kind"] == "emulated"


def test_its_report_says_so_and_cannot_be_used(emulated: Any) -> None:
    emulated.order()
    emulated.agent().serve(max_runs=1)
    report = emulated.controller.reports[("run-1", 1)]
    assert report["provenance"] == "emulated"
    assert report["verdict"] == {"status": "invalid", "reasons": ["emulated"]}


def test_its_failures_say_so_too(emulated: Any) -> None:
    emulated.order(artifact={"sha256": "0" * 64, "size_bytes": 1})
    emulated.agent().serve(max_runs=1)
    report = emulated.controller.reports[("run-1", 1)]
    assert (report["provenance"], report["error"]["code"]) == ("emulated", "artifact_missing")


def test_enrolling_takes_no_runs_and_is_done_once(rig: Any) -> None:
    rig.order()
    assert rig.agent(name="pi").enrol() == "pi"
    assert rig.agent(name="pi", join_token=None).enrol() == "pi"
    assert len(rig.controller.calls("enrol")) == 1
    assert rig.controller.calls("claim") == []


def test_enrolling_without_a_token_says_what_is_missing(rig: Any) -> None:
    with pytest.raises(SettingsInvalid, match="join-token"):
        rig.agent(join_token=None).enrol()


def test_the_command_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enrol", "--state-dir", str(tmp_path)]) == 1
    assert "settings_invalid: no controller is known; give --controller URL" in capsys.readouterr().err
