"""Sweeps: which settings differ, what they are called, and what the command line makes of them."""

import pytest
import typer
from pydantic import ValidationError

from edgefleet_controller.cli.job_options import numbers, sweep_settings
from edgefleet_controller.jobs.schemas import JobCreate
from edgefleet_controller.jobs.sweep import differing_fields, settings_label, settings_of


def test_a_job_of_one_settings_differs_in_nothing() -> None:
    assert differing_fields([{"threads": 1, "batch": 2}]) == []
    assert differing_fields([]) == []
    assert settings_label({}) == ""


def test_only_the_fields_that_differ_are_named() -> None:
    swept = [{"threads": 1, "batch": 1, "seed": 0}, {"threads": 2, "batch": 8, "seed": 0}]
    assert differing_fields(swept) == ["threads", "batch"]
    assert settings_label({"threads": 2, "provider": None}) == "threads 2, provider default"


def test_the_stored_request_gives_one_or_several_settings() -> None:
    assert [one.threads for one in settings_of({})] == [1]
    assert [one.threads for one in settings_of({"settings": {"threads": 2}})] == [2]
    assert [one.batch for one in settings_of({"settings": [{"batch": 1}, {"batch": 8}]})] == [1, 8]


def test_options_with_commas_are_combined() -> None:
    swept = {"threads": [1, 2], "batch": [1, 8], "provider": [], "delegate": []}
    assert sweep_settings(swept, {"seconds": 1.0}) == [
        {"seconds": 1.0, "threads": 1, "batch": 1},
        {"seconds": 1.0, "threads": 1, "batch": 8},
        {"seconds": 1.0, "threads": 2, "batch": 1},
        {"seconds": 1.0, "threads": 2, "batch": 8},
    ]
    assert sweep_settings({"threads": []}, {}) == [{}]


def test_a_number_that_is_none_ends_the_command() -> None:
    assert numbers("threads", "1, 2") == [1, 2]
    with pytest.raises(typer.Exit):
        numbers("threads", "many")


@pytest.mark.parametrize("settings", [[], [{"threads": 1}, {"threads": 1}], [{"threads": n} for n in range(1, 18)]])
def test_a_sweep_of_nothing_of_equals_or_of_too_many_is_refused(settings: list[dict[str, int]]) -> None:
    with pytest.raises(ValidationError):
        JobCreate(model="m", recipes=["baseline"], settings=settings)
