"""What a person may set on a board: command-line options, EDGEFLEET_AGENT_* variables, ``agent.json`` in the state folder.

Options win over variables, variables over the file.
"""

import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Optional

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_agent.errors import SettingsInvalid

DISTRIBUTION = "edgefleet-agent"
PREFIX = "EDGEFLEET_AGENT_"
SETTINGS_FILE = "agent.json"
GIBIBYTE = 1024**3
PLAIN = (Optional[str], int, float)


def read_version() -> str:
    """Version of the installed distribution; ``0+unknown`` when run from a plain folder."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+unknown"


AGENT_VERSION = read_version()
"""Version of this agent."""


class AgentSettings(BaseModel):
    """The agent's settings; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    controller: Optional[str] = Field(default=None, description="base address of the controller")
    ca_file: Optional[str] = Field(
        default=None,
        description="the only authority to trust for the controller's certificate, PEM; default: the system's",
    )
    join_token: Optional[str] = Field(default=None, description="one-time token for the first enrolment")
    name: Optional[str] = Field(default=None, description="wanted name of this device")
    board: Optional[str] = Field(default=None, description="board kind, where the detected one is wrong")
    interpreters: dict[str, str] = Field(
        default_factory=dict, description="runtime name -> the Python interpreter that holds it"
    )
    sensors: list[str] = Field(
        default_factory=list,
        description="power sensors on I2C, such as ina226,bus=1,address=0x40,shunt=0.01 (sensors.spec.parse_sensor)",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="labels the controller shows for this device")
    facts_dir: Optional[str] = Field(
        default="/etc/edgefleet-agent/facts.d",
        description="folder of *.json files, name -> text, that whoever set the board up left as labels",
    )
    emulated: bool = Field(
        default=False, description="this board is emulated, where the agent can't notice it (a virtual machine)"
    )
    cache_free_bytes: int = Field(
        default=GIBIBYTE // 2, ge=0, description="disk space the artifact cache leaves free, in bytes"
    )
    engine_cache_bytes: int = Field(
        default=2 * GIBIBYTE,
        ge=0,
        description="largest size of the engines built here and kept for later runs, in bytes",
    )
    timeout_s: float = Field(default=30.0, gt=0, description="longest wait for one answer of the controller, seconds")


def default_state_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """``$EDGEFLEET_AGENT_STATE_DIR``, else /var/lib for root, else the user's state folder (XDG base directories)."""
    named = environment.get(PREFIX + "STATE_DIR")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/edgefleet-agent")
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "edgefleet-agent"


def state_directory(given: Optional[Path], simulated: bool = False) -> Path:
    """The folder that ``--state-dir`` names, else the default one; absolute, for runners work in folders of their own."""
    default = default_state_directory()
    return (given or (default / "simulated" if simulated else default)).absolute()


def load_settings(
    state_directory: Path, options: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> AgentSettings:
    """Merge file, variables and options (those that are not None); raises SettingsInvalid naming the offender."""
    merged = {**_from_file(state_directory / SETTINGS_FILE), **_from_environment(environment)}
    merged.update({name: value for name, value in options.items() if value is not None})
    try:
        return AgentSettings.model_validate(merged)
    except ValidationError as err:
        problems = "; ".join("{}: {}".format(".".join(map(str, item["loc"])), item["msg"]) for item in err.errors())
        raise SettingsInvalid(
            "settings are wrong ({}); correct the option, the {}* variable or {}".format(
                problems, PREFIX, state_directory / SETTINGS_FILE
            )
        ) from err


def _from_file(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise SettingsInvalid("{} can't be read as JSON ({}); correct or remove it".format(path, err)) from err
    if not isinstance(content, dict):
        raise SettingsInvalid("{} must hold a JSON object".format(path))
    return content


def read_fact_files(folder: Optional[Path]) -> dict[str, str]:
    """Labels from the folder's *.json files, in the order of their names; empty where there is no such folder.

    Raises SettingsInvalid naming the file that can't be read or is not a mapping of names to texts.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")) if folder is not None else []:
        content = _from_file(path)
        if not all(isinstance(value, str) for value in content.values()):
            raise SettingsInvalid("{} must map names to texts, as labels do; correct or remove it".format(path))
        found.update(content)
    return found


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Plain values as text; lists and mappings as JSON."""
    found: dict[str, Any] = {}
    for name, field in AgentSettings.model_fields.items():
        text = environment.get(PREFIX + name.upper())
        if text is None:
            continue
        found[name] = text if field.annotation in PLAIN else _parse_json(name, text)
    return found


def _parse_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as err:
        raise SettingsInvalid("{}{} must be JSON ({})".format(PREFIX, name.upper(), err)) from err
