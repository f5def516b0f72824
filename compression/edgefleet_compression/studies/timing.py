"""Which files a study has timed on its boards, and which of them are put against each other. Torch-free."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from edgefleet_compression.child import Emit
from edgefleet_compression.studies.claims import SpeedClaim
from edgefleet_compression.studies.declaration import StudyScale
from edgefleet_compression.studies.metrics import validation_retention
from edgefleet_compression.studies.progress import no_progress
from edgefleet_compression.studies.records import StudyFolder, Timing, UnitRecord, finished

THIS_HOST: Final = "this-host"
SIMULATED: Final = "simulated-"

Timings = Mapping[tuple[str, str], float]
"""(sha256 of a file, board) -> p50 in ms, of what could be timed."""


class Stopwatch(Protocol):
    """Times files on a board. What cannot be timed is a Timing with a reason and no figure."""

    def time(self, record: UnitRecord, board: str, folder: StudyFolder) -> Timing:
        """Return the latency of a unit's file."""

    def compare(self, a: UnitRecord, b: UnitRecord, board: str, folder: StudyFolder) -> Timing:
        """Return how much faster b is than a, measured in turns."""


def time_all(
    scale: StudyScale,
    records: Sequence[UnitRecord],
    folder: StudyFolder,
    stopwatch: Stopwatch,
    emit: Emit = no_progress,
) -> list[Timing]:
    """Time files on boards, then the picks of each speed claim against each other; return all timings.

    Simulated boards: every file. This host: the file of every arm's first seed, which is enough to sort arms; what a claim
    rests on is measured in turns, for every seed.
    """
    units = finished(records)
    first = {record.arm: min(other.seed for other in units if other.arm == record.arm) for record in units}
    for index, record in enumerate(units):
        for board in scale.boards:
            if record.figures is None or (board == THIS_HOST and record.seed != first[record.arm]):
                continue
            if folder.timing(record.figures.sha256, board) is None:
                emit(index / len(units), f"timing {record.arm}, seed {record.seed} on {board}")
                folder.keep_timing(stopwatch.time(record, board, folder))
    for claim in scale.claims:
        if isinstance(claim, SpeedClaim) and claim.board == THIS_HOST:
            _compare_picks(claim, units, folder, stopwatch, emit)
    return read_timings(scale, records, folder)


def _compare_picks(
    claim: SpeedClaim, units: Sequence[UnitRecord], folder: StudyFolder, stopwatch: Stopwatch, emit: Emit
) -> None:
    picked = pick(claim, units, medians(_single(units, (claim.board,), folder)))
    if picked is None or picked[0] == picked[1]:
        return
    by_arm = {(record.arm, record.seed): record for record in units}
    for seed in sorted({record.seed for record in units}):
        aware, agnostic = (by_arm.get((arm, seed)) for arm in picked)
        if aware is None or agnostic is None or aware.figures is None or agnostic.figures is None:
            continue
        if folder.timing(aware.figures.sha256, claim.board, against=agnostic.figures.sha256) is None:
            emit(0.99, f"{picked[1]} against {picked[0]}, seed {seed}, in turns")
            folder.keep_timing(stopwatch.compare(agnostic, aware, claim.board, folder))


def read_timings(scale: StudyScale, records: Sequence[UnitRecord], folder: StudyFolder) -> list[Timing]:
    """Return all timings that there are, in the order of records and boards."""
    units = finished(records)
    timings = _single(units, scale.boards, folder)
    for claim in scale.claims:
        if not isinstance(claim, SpeedClaim) or claim.board != THIS_HOST:
            continue
        picked = pick(claim, units, medians(timings))
        by_arm = {(record.arm, record.seed): record for record in units}
        for seed in sorted({record.seed for record in units}) if picked else ():
            pair = [by_arm.get((arm, seed)) for arm in picked or ()]
            shas = [record.figures.sha256 for record in pair if record is not None and record.figures is not None]
            found = folder.timing(shas[0], claim.board, against=shas[1]) if len(shas) == 2 else None
            timings += [found] if found is not None else []
    return timings


def _single(units: Sequence[UnitRecord], boards: Sequence[str], folder: StudyFolder) -> list[Timing]:
    shas = dict.fromkeys(record.figures.sha256 for record in units if record.figures is not None)
    found = (folder.timing(sha256, board) for sha256 in shas for board in boards)
    return [timing for timing in found if timing is not None]


def medians(timings: Sequence[Timing]) -> dict[tuple[str, str], float]:
    """Return the median latencies in ms of what was timed alone."""
    return {
        (timing.sha256, timing.board): timing.p50_ms
        for timing in timings
        if timing.against is None and timing.p50_ms is not None
    }


def pick(claim: SpeedClaim, records: Sequence[UnitRecord], p50_ms: Timings) -> tuple[str, str] | None:
    """Return the names of the aware and the agnostic arm, or None where no candidate keeps the floor and runs on the board.

    Both are chosen from the same arms: those whose mean accuracy on the validation split keeps the floor and that run on the
    board. agnostic: fewest MACs, then fewest bytes; aware: smallest mean p50.
    """
    eligible = {}
    for arm in claim.arms:
        own = [record for record in finished(records) if record.arm == arm and record.figures is not None]
        latencies = [p50_ms.get((record.figures.sha256, claim.board)) for record in own if record.figures is not None]
        known = [value for value in latencies if value is not None]
        if known and float(np.mean([validation_retention(r) for r in own])) >= claim.floor:
            eligible[arm] = (own, float(np.mean(known)))
    if not eligible:
        return None
    aware = min(eligible, key=lambda arm: (eligible[arm][1], arm))
    return aware, min(eligible, key=lambda arm: (*_counts(eligible[arm][0]), arm))


def _counts(records: Sequence[UnitRecord]) -> tuple[float, float]:
    figures = [record.figures for record in records if record.figures is not None]
    return float(np.mean([item.macs for item in figures])), float(np.mean([item.size_bytes for item in figures]))
