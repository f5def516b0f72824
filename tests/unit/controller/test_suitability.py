"""Which runs a device could never carry out, told from its facts and the file's manifest."""

from typing import Any

import pytest
from pydantic import ValidationError

from edgefleet_controller.db.tables import Device
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.runs.suitability import why_unsuitable
from edgefleet_controller.workflows.dispatching import requirement_of
from edgefleet_deploy.targets import get_target


def board(*versions: str, name: str = "onnxruntime") -> Device:
    runtimes = [{"name": name, "version": version} for version in versions]
    return Device(name="shelf-pi", board="raspberry-pi-4", labels={}, facts={"runtimes": runtimes})


def manifest(needed: str | None) -> dict[str, Any]:
    return {"size_bytes": 1000, "operators": [], "min_runtime_version": needed}


@pytest.mark.parametrize(
    ("versions", "needed"),
    [
        (("1.24.0",), "1.24"),
        (("1.31.1",), "1.24"),
        (("1.10.0", "1.24.4"), "1.24"),
        (("1.9.0",), None),
        (("built by hand",), "1.24"),
    ],
)
def test_a_board_with_a_runtime_that_is_new_enough_takes_the_file(
    versions: tuple[str, ...], needed: str | None
) -> None:
    assert why_unsuitable(get_target("onnxruntime-current"), manifest(needed), board(*versions)) is None


@pytest.mark.parametrize("versions", [("1.23.2",), ("1.9.0", "1.10.0")])
def test_a_board_whose_runtimes_are_all_too_old_is_told_which_one_the_file_needs(versions: tuple[str, ...]) -> None:
    error = why_unsuitable(get_target("onnxruntime-1.24"), manifest("1.24"), board(*versions))

    assert error is not None
    assert error.code == "runtime_unavailable"
    assert error.detail == {"runtime": "onnxruntime", "needed": "1.24", "found": list(versions)}


def test_other_runtimes_are_not_judged_by_the_version_that_their_agent_names() -> None:
    assert why_unsuitable(get_target("litert"), manifest("2.1"), board("1.4.0", name="litert")) is None


@pytest.mark.parametrize(
    ("asked_for", "of_the_file", "needed"),
    [(None, "1.24", "1.24"), ("1.9", None, "1.9"), ("1.9", "1.10", "1.10"), ("1.31", "1.24", "1.31")],
)
def test_any_board_needs_what_the_job_asks_for_and_what_the_file_does(
    asked_for: str | None, of_the_file: str | None, needed: str
) -> None:
    match = {"runtime": "onnxruntime", "min_runtime_version": asked_for} if asked_for else {}
    found = requirement_of(match, get_target("onnxruntime-current"), manifest(of_the_file))
    assert found.min_runtime_version == needed


def test_a_least_version_names_its_runtime() -> None:
    with pytest.raises(ValidationError, match="needs runtime"):
        Requirement(min_runtime_version="1.24")
