"""The measurement settings of a job: one, or several that each variant is measured with."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_controller.jobs.errors import TooManyRuns

MAX_SETTINGS = 16
MAX_RUNS = 100_000
JsonObject = dict[str, Any]


def refuse_too_many(n_runs: int) -> None:
    """TooManyRuns for more runs than one job may have."""
    if n_runs > MAX_RUNS:
        raise TooManyRuns(f"The job asks for more than {MAX_RUNS} runs; split it.")


def settings_of(request: Mapping[str, Any]) -> list[MeasureSettings]:
    """The settings of a job's stored request in their order; their position is a run's ``settings_ordinal``."""
    wanted = request.get("settings") or {}
    return [MeasureSettings.model_validate(one) for one in (wanted if isinstance(wanted, list) else [wanted])]


def differing_fields(settings: Sequence[JsonObject]) -> list[str]:
    """Names of the fields in which the settings are not all equal."""
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if any(one.get(name) != settings[0].get(name) for one in settings)]


def settings_label(settings: Mapping[str, Any]) -> str:
    """The settings for a person, such as ``threads 2, batch 8``; empty without any."""
    return ", ".join(f"{name} {'default' if value is None else value}" for name, value in settings.items())
