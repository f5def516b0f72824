from pathlib import Path

import pytest

from edgefleet_agent.cli.energy import best_meter, configured_sensors
from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.measure.meter import NoSensor
from edgefleet_agent.settings import default_state_directory, load_settings, state_directory


def test_options_win_over_variables_and_variables_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text('{"name": "file", "board": "file", "controller": "file"}')
    environment = {"EDGEFLEET_AGENT_NAME": "variable", "EDGEFLEET_AGENT_BOARD": "variable"}
    settings = load_settings(tmp_path, {"name": "option", "board": None}, environment)
    assert (settings.name, settings.board, settings.controller) == ("option", "variable", "file")


def test_structured_variables_are_json(tmp_path: Path) -> None:
    environment = {
        "EDGEFLEET_AGENT_INTERPRETERS": '{"tensorrt": "/usr/bin/python3"}',
        "EDGEFLEET_AGENT_SENSORS": '["ina260"]',
        "EDGEFLEET_AGENT_CACHE_FREE_BYTES": "5",
    }
    settings = load_settings(tmp_path, {}, environment)
    assert settings.interpreters == {"tensorrt": "/usr/bin/python3"}
    assert settings.sensors == ["ina260"]
    assert settings.cache_free_bytes == 5


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("{", {}, "JSON"),
        ("[]", {}, "object"),
        ('{"colour": "red"}', {}, "colour"),
        ("{}", {"EDGEFLEET_AGENT_LABELS": "red"}, "EDGEFLEET_AGENT_LABELS"),
        ('{"timeout_s": -1}', {}, "timeout_s"),
    ],
)
def test_wrong_settings_name_the_offender(tmp_path: Path, text: str, environment: "dict[str, str]", words: str) -> None:
    (tmp_path / "agent.json").write_text(text)
    with pytest.raises(SettingsInvalid, match=words):
        load_settings(tmp_path, {}, environment)


def test_state_directory_can_be_named() -> None:
    assert default_state_directory({"EDGEFLEET_AGENT_STATE_DIR": "/srv/agent"}) == Path("/srv/agent")


@pytest.mark.parametrize("simulated", [False, True])
def test_a_relative_state_directory_is_where_the_agent_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated: bool
) -> None:
    """A runner works in a folder of its own: there a relative path would name another file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEFLEET_AGENT_STATE_DIR", "variable")
    assert state_directory(Path("option"), simulated) == tmp_path / "option"
    default = tmp_path / "variable" / "simulated" if simulated else tmp_path / "variable"
    assert state_directory(None, simulated) == default


def test_sensors_are_checked_when_the_agent_starts() -> None:
    (spec,) = configured_sensors(["ina226,bus=1,address=0x41,shunt=0.01"])
    assert (spec.kind, spec.address) == ("ina226", 0x41)
    with pytest.raises(SettingsInvalid, match="shunt"):
        configured_sensors(["ina226,bus=1"])


def test_recording_cannot_pass_for_a_sensor() -> None:
    with pytest.raises(SettingsInvalid, match="recording"):
        configured_sensors(["replay,path=trace.json"])


def test_no_sensor_gives_the_meter_that_says_so() -> None:
    assert isinstance(best_meter([]), NoSensor)
