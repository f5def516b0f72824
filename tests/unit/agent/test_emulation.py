"""Emulated boards are noticed, and their reports bar themselves from use. Headers as elf(5) describes them."""

import sys
from pathlib import Path

import pytest

from edgefleet_agent.errors import SettingsInvalid
from edgefleet_agent.inventory import take_inventory
from edgefleet_agent.measure.artifact import blob_ref, failed_report
from edgefleet_agent.measure.emulation import as_emulated, elf_machine, find_emulator
from edgefleet_agent.measure.environment import Roots
from edgefleet_agent.settings import AgentSettings
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, Reason, VerdictStatus
from edgefleet_agent.wire.report import CodedError, RunReport, Verdict

X86_64, AARCH64, S390 = 62, 183, 22
LITTLE, BIG = 1, 2


def write_program(path: Path, machine: int, order: int = LITTLE) -> Path:
    ident = b"\x7fELF" + bytes([2, order, 1]) + bytes(9)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ident + b"\x02\x00" + machine.to_bytes(2, "little" if order == LITTLE else "big") + bytes(44))
    return path


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    monkeypatch.setattr("threading.get_native_id", lambda: 7)
    (tmp_path / "proc/self/task/7").mkdir(parents=True)
    return Roots(proc=tmp_path / "proc", sys=tmp_path / "sys")


def run_by(roots: Roots, program: Path) -> None:
    (roots.proc / "self/task/7/exe").symlink_to(program)


class TestDetection:
    def test_this_interpreter_runs_on_its_own_machine(self) -> None:
        assert find_emulator() is None

    def test_a_program_of_another_machine_than_the_kernel_runs_is_emulated(self, roots: Roots, tmp_path: Path) -> None:
        run_by(roots, write_program(tmp_path / "qemu-aarch64-static", X86_64))
        assert find_emulator(roots, write_program(tmp_path / "python3", AARCH64)) == "qemu-aarch64-static"

    def test_a_native_program_is_not(self, roots: Roots, tmp_path: Path) -> None:
        python = write_program(tmp_path / "python3", AARCH64)
        run_by(roots, python)
        assert find_emulator(roots, python) is None

    def test_without_proc_nothing_is_claimed(self, roots: Roots, tmp_path: Path) -> None:
        assert find_emulator(roots, write_program(tmp_path / "python3", AARCH64)) is None

    def test_the_byte_order_of_the_header_is_heeded(self, tmp_path: Path) -> None:
        assert elf_machine(write_program(tmp_path / "big", S390, BIG)) == S390
        assert elf_machine(write_program(tmp_path / "little", AARCH64)) == AARCH64

    @pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\nexec python3 -- \n"])
    def test_what_is_no_program_has_no_machine(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "file").write_bytes(content)
        assert elf_machine(tmp_path / "file") is None


def report(**changes: object) -> RunReport:
    plain = failed_report(blob_ref(b"x"), CodedError(code=ErrorCode.RUNNER_CRASHED, message="m"))
    return plain.model_copy(update=changes)


def test_a_measured_report_becomes_an_unusable_one() -> None:
    suspect = Verdict(status=VerdictStatus.SUSPECT, reasons=[Reason.HOST_BUSY])
    emulated = as_emulated(report(error=None, verdict=suspect))
    assert emulated.provenance is Provenance.EMULATED
    assert (emulated.verdict.status, emulated.verdict.reasons) == (
        VerdictStatus.INVALID,
        [Reason.EMULATED, Reason.HOST_BUSY],
    )


def test_a_failed_report_keeps_its_error_as_the_only_reason() -> None:
    emulated = as_emulated(report())
    assert emulated.provenance is Provenance.EMULATED
    assert emulated.verdict.reasons == []
    assert emulated.error is not None


def test_a_person_may_say_that_the_board_is_emulated() -> None:
    inventory = take_inventory(AgentSettings(emulated=True, interpreters={"onnxruntime": sys.executable}))
    assert inventory.is_emulated
    assert inventory.facts.labels["emulator"] == "unknown"


class TestFactFiles:
    def labels(self, folder: Path, **settings: object) -> "dict[str, str]":
        return take_inventory(AgentSettings(facts_dir=str(folder), **settings)).facts.labels

    def test_become_labels_and_the_settings_win(self, tmp_path: Path) -> None:
        (tmp_path / "coral.json").write_text('{"libedgetpu": "std", "room": "1"}')
        assert self.labels(tmp_path, labels={"room": "2"}) == {"libedgetpu": "std", "room": "2"}

    def test_are_not_needed(self, tmp_path: Path) -> None:
        assert self.labels(tmp_path / "absent") == {}

    @pytest.mark.parametrize("text", ["{", "[]", '{"libedgetpu": 2}'])
    def test_are_named_when_they_are_damaged(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "coral.json").write_text(text)
        with pytest.raises(SettingsInvalid, match=r"coral\.json"):
            self.labels(tmp_path)
