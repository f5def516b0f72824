"""A study end to end: units in a real child process, a report, a lock, and what a second run does again."""

import json
from pathlib import Path

import pytest

from edgefleet_compression.passes.specs import Cast, Quantize, StructuredPrune
from edgefleet_compression.studies.building import Setting, arm
from edgefleet_compression.studies.claims import Chosen, LevelClaim
from edgefleet_compression.studies.declaration import StudyData, StudyDeclaration, StudyModel, StudyScale
from edgefleet_compression.studies.lock import compare_with_lock
from edgefleet_compression.studies.records import StudyFolder
from edgefleet_controller.experiments.stopwatch import AgentStopwatch
from edgefleet_controller.experiments.studying import Outcome, StudyRun, carry_out

QUICK = Setting(epochs=2)


def tiny_study() -> StudyDeclaration:
    return StudyDeclaration(
        name="tiny",
        number=98,
        title="Tiny",
        question="Does it run?",
        hypothesis="It does.",
        falsified_if="it does not",
        analysis=("None.",),
        scales=(
            StudyScale(
                name="small",
                data=(
                    StudyData(
                        name="digits", spec={"kind": "packaged", "name": "digits"}, noise=0.5, shares=(0.4, 0.1, 0.5)
                    ),
                ),
                models=(
                    StudyModel(
                        name="net", architecture="convnet", arguments={"widths": [8, 16]}, data="digits", epochs=4
                    ),
                ),
                arms=(
                    arm(
                        "narrow-int8", StructuredPrune(amount=0.25, round_to=1), QUICK.train(), Quantize(), model="net"
                    ),
                    arm("impossible", Cast(), model="net", target="litert"),
                ),
                seeds=(0, 1),
                claims=(
                    LevelClaim(
                        name="kept",
                        arm=Chosen(arms=("narrow-int8",)),
                        metric="retention",
                        supported_from=0.9,
                        falsified_below=0.8,
                    ),
                ),
                boards=("simulated-raspberry-pi-4",),
                expected="seconds",
            ),
        ),
    )


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Outcome, Path]":
    place = tmp_path_factory.mktemp("study")
    run = StudyRun(tiny_study(), "small", StudyFolder(place))
    return carry_out(run, AgentStopwatch(), lambda fraction, message: None), place


def test_files_are_compiled_measured_and_reported(outcome: "tuple[Outcome, Path]") -> None:
    found, place = outcome
    arms = {item["name"]: item for item in found.document["arms"]}
    assert arms["narrow-int8"]["n"] == 2
    assert arms["narrow-int8"]["size_ratio"] > 1.5
    assert 0.2 < arms["narrow-int8"]["accuracy"]["value"] <= 1.0
    assert arms["narrow-int8"]["p50_ms"]["simulated-raspberry-pi-4"]["value"] > 0
    assert found.document["verdict"] == "undecided"  # two seeds decide nothing
    assert "SIMULATED" in (place / "report.md").read_text()


def test_a_format_that_the_target_refuses_is_a_failed_unit(outcome: "tuple[Outcome, Path]") -> None:
    found, _ = outcome
    assert {(row["arm"], row["seed"]) for row in found.document["failures"]} == {("impossible", 0), ("impossible", 1)}


def test_a_lost_unit_is_carried_out_again_to_the_same_figures(outcome: "tuple[Outcome, Path]") -> None:
    """What a kill -9 leaves is the same folder without the record of the unit that was under way."""
    found, place = outcome
    before = json.loads((place / "report.json").read_text())
    lost = next(record for record in found.records if record.arm == "narrow-int8" and record.seed == 1)
    (place / "records" / f"{lost.key}.json").unlink()
    again = carry_out(StudyRun(tiny_study(), "small", StudyFolder(place)), AgentStopwatch(), lambda *_: None)
    after = json.loads((place / "report.json").read_text())
    assert {**after, "cost_s": 0} == {**before, "cost_s": 0}
    assert compare_with_lock(found.lock, again.records, {}) == []
