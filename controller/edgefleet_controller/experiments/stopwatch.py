"""Times a study's files by the agent's own commands, as on a board: in a process of its own, one thread, batch 1."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.studies.records import StudyFolder, Timing, UnitRecord
from edgefleet_compression.studies.timing import SIMULATED, THIS_HOST

JsonObject = dict[str, Any]
Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

BENCH: Final = ("--seconds", "0.5", "--warmup-seconds", "0.3")
"""Enough to sort candidates; the two that are picked are measured again, in turns."""

IN_TURNS: Final = ("--blocks", "120", "--max-seconds", "15")
"""Blocks of 20 ms of each side: what disturbs the host meets both alike."""

TIMEOUT_S: Final = 300.0


def run_agent(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run the agent's command beside this interpreter and return what it said."""
    command = [str(Path(sys.executable).with_name("edgefleet-agent")), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StudyInvalid(
            f"edgefleet-agent could not time a file ({error}): it has to be installed beside edgefleet.",
            code="agent_unusable",
        ) from error


class AgentStopwatch:
    """Times on this host, or simulates a board from a file's operator table. run: stands in for the agent in tests."""

    def __init__(self, run: Run = run_agent) -> None:
        self._run = run
        self._simulated: dict[tuple[str, str], Timing] = {}

    def time(self, record: UnitRecord, board: str, folder: StudyFolder) -> Timing:
        """Return the file's latency on the board, or a Timing that says why there is none."""
        if record.figures is None:
            raise ValueError(f"unit {record.arm} has no file")
        if board == THIS_HOST:
            return self._measured(record.figures.sha256, folder)
        if not board.startswith(SIMULATED):
            raise StudyInvalid(f"There is no board {board!r}: this-host, or simulated-BOARD.", code="board_unknown")
        return self._simulate(record.figures.sha256, record.figures.operators, board, folder)

    def compare(self, a: UnitRecord, b: UnitRecord, board: str, folder: StudyFolder) -> Timing:
        """Return how many times faster b is than a, in interleaved blocks on this host."""
        if a.figures is None or b.figures is None or board != THIS_HOST:
            raise ValueError("files are compared in turns on this host only")
        paths = [str(folder.artifact_file(item.sha256)) for item in (a.figures, b.figures)]
        document, said = self._json(["ab", *paths, *IN_TURNS])
        common = {"sha256": b.figures.sha256, "against": a.figures.sha256, "board": board, "provenance": "measured"}
        if document is None:
            return Timing.model_validate({**common, "reason": said})
        low, high = document["interval"]
        return Timing.model_validate(
            {
                **common,
                "ratio": 1.0 / document["ratio"],
                "interval": (1.0 / high, 1.0 / low),
                "n": document["n_pairs"],
                "verdict": _verdict(document),
            }
        )

    def _measured(self, sha256: str, folder: StudyFolder) -> Timing:
        document, said = self._json(["bench", str(folder.artifact_file(sha256)), *BENCH])
        common: JsonObject = {"sha256": sha256, "board": THIS_HOST, "provenance": "measured"}
        latency = (document or {}).get("latency_ms") or {}
        if document is None or latency.get("p50") is None:
            return Timing.model_validate({**common, "reason": said or "too few samples"})
        return Timing.model_validate(
            {
                **common,
                "p50_ms": latency["p50"],
                "interval": (latency.get("intervals") or {}).get("p50"),
                "n": latency["n"],
                "verdict": _verdict(document),
                "conditions": _conditions(document),
            }
        )

    def _simulate(self, sha256: str, operators: str | None, board: str, folder: StudyFolder) -> Timing:
        common: JsonObject = {"sha256": sha256, "board": board, "provenance": "simulated"}
        if operators is None:
            return Timing.model_validate({**common, "reason": "no operator table"})
        found = self._simulated.get((operators, board))
        if found is None:
            table = str(folder.operators(operators))
            document, said = self._json(["simulate", "--board", board.removeprefix(SIMULATED), "--table", table])
            figures = (
                {"reason": said} if document is None else {"p50_ms": document["undisturbed_ms"], "n": document["n"]}
            )
            found = self._simulated[operators, board] = Timing.model_validate({**common, **figures})
        return found.model_copy(update={"sha256": sha256})

    def _json(self, arguments: Sequence[str]) -> tuple[JsonObject | None, str]:
        """Return what the command wrote as JSON, or None with its last line."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.json"
            ended = self._run([*arguments, "--json", str(out)])
            if ended.returncode == 0 and out.is_file():
                document: JsonObject = json.loads(out.read_text(encoding="utf-8"))
                return document, ""
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        return None, (lines[-1] if lines else f"the agent ended with status {ended.returncode}")[:300]


def _verdict(document: JsonObject) -> str:
    verdict = document.get("verdict") or {}
    return " ".join([str(verdict.get("status", "unknown")), *(str(reason) for reason in verdict.get("reasons", ()))])


def _conditions(document: JsonObject) -> JsonObject:
    environment = document.get("environment") or {}
    return {"runtime": environment.get("runtime")}
