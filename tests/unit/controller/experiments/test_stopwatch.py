"""Timings by the agent's commands, with a stand-in for the agent."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.compression.studies.study_examples import CountingExecutor, small_study

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.studies.records import StudyFolder, UnitRecord
from edgefleet_compression.studies.units import units_of
from edgefleet_controller.experiments.stopwatch import AgentStopwatch

PI = "simulated-raspberry-pi-4"


class Agent:
    """Writes the documents it was given, or ends with a message."""

    def __init__(self, document: object = None, complaint: str = "") -> None:
        self.document, self.complaint = document, complaint
        self.commands: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        self.commands.append(list(arguments))
        if self.complaint:
            return subprocess.CompletedProcess([], 1, "", f"edgefleet-agent: {self.complaint}\n")
        Path(arguments[arguments.index("--json") + 1]).write_text(json.dumps(self.document))
        return subprocess.CompletedProcess([], 0, "", "")


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path)


@pytest.fixture
def record(folder: StudyFolder) -> UnitRecord:
    unit = units_of(small_study().scale("small"), {})[0]
    made = CountingExecutor().carry_out(unit, folder)
    assert made.figures is not None
    place = folder.artifact(made.figures.sha256)
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(b"file")
    return made.model_copy(update={"figures": made.figures.model_copy(update={"operators": "e" * 64})})


def test_measured_latency_keeps_interval_and_verdict(folder: StudyFolder, record: UnitRecord) -> None:
    report = {
        "latency_ms": {"p50": 0.4, "intervals": {"p50": [0.39, 0.41]}, "n": 900},
        "verdict": {"status": "suspect", "reasons": ["background_load"]},
        "environment": {"runtime": {"name": "onnxruntime"}},
    }
    timing = AgentStopwatch(Agent(report)).time(record, "this-host", folder)
    assert (timing.p50_ms, timing.interval, timing.provenance) == (0.4, (0.39, 0.41), "measured")
    assert timing.verdict == "suspect background_load"


def test_comparison_says_how_many_times_faster_the_second_is(folder: StudyFolder, record: UnitRecord) -> None:
    agent = Agent(
        {"ratio": 0.5, "interval": [0.4, 0.625], "n_pairs": 100, "verdict": {"status": "valid", "reasons": []}}
    )
    timing = AgentStopwatch(agent).compare(record, record, "this-host", folder)
    assert (timing.ratio, timing.interval) == (2.0, (1.6, 2.5))
    assert agent.commands[0][0] == "ab"


def test_one_table_is_simulated_once_for_each_board(folder: StudyFolder, record: UnitRecord) -> None:
    agent = Agent({"undisturbed_ms": 7.5, "n": 100})
    stopwatch = AgentStopwatch(agent)
    timings = [stopwatch.time(record, PI, folder) for _ in range(2)]
    assert {(item.p50_ms, item.provenance) for item in timings} == {(7.5, "simulated")}
    assert len(agent.commands) == 1
    assert "raspberry-pi-4" in agent.commands[0]


def test_what_the_agent_refuses_is_a_reason_and_no_figure(folder: StudyFolder, record: UnitRecord) -> None:
    timing = AgentStopwatch(Agent(complaint="not_supported: int8 only")).time(record, PI, folder)
    assert timing.p50_ms is None
    assert timing.reason == "edgefleet-agent: not_supported: int8 only"


def test_unknown_boards_are_refused(folder: StudyFolder, record: UnitRecord) -> None:
    with pytest.raises(StudyInvalid) as caught:
        AgentStopwatch(Agent()).time(record, "mainframe", folder)
    assert caught.value.code == "board_unknown"
