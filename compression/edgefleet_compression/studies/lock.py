"""The lock file of a finished study: everything needed to repeat it, and to say afterwards which figures moved. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_compression.errors import StudyInvalid
from edgefleet_compression.studies.declaration import ScaleName, StudyDeclaration, declaration_sha256
from edgefleet_compression.studies.records import UnitRecord, finished
from edgefleet_compression.studies.timing import Timings

LOCK_VERSION: Final = 1
ACCURACY_TOLERANCE: Final = 0.02
"""A share of the locked value: "within +-2 % over 3 independent runs", as it was asked for."""
LATENCY_TOLERANCE: Final = 0.10
"""A share of the locked value; clocks and neighbours move latencies of one host by as much."""


class _Locked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LockedUnit(_Locked):
    """The figures of one unit that a repetition is compared with."""

    arm: str
    seed: int
    key: str
    accuracy: float
    baseline_accuracy: float
    size_bytes: int
    macs: int
    sha256: str
    data_sha256: str
    p50_ms: dict[str, float] = Field(default_factory=dict, description="Median latency by board.")


class StudyLock(_Locked):
    """A study as it was carried out."""

    lock_version: Literal[1] = LOCK_VERSION
    study: str
    scale: ScaleName
    declaration_sha256: str
    declaration: StudyDeclaration = Field(
        description="The study itself, so that a later edition of it changes nothing."
    )
    external: dict[str, dict[str, Any]] = Field(description="Specifications of data that the scale leaves open.")
    threads: int
    device: str
    versions: dict[str, str]
    units: tuple[LockedUnit, ...]


def make_lock(
    declaration: StudyDeclaration,
    scale: ScaleName,
    records: Sequence[UnitRecord],
    p50_ms: Timings,
    *,
    external: Mapping[str, Mapping[str, Any]],
    threads: int,
    device: str,
    versions: Mapping[str, str],
) -> StudyLock:
    """Return the lock of what was carried out; units that failed are not in it."""
    return StudyLock(
        study=declaration.name,
        scale=scale,
        declaration_sha256=declaration_sha256(declaration, scale),
        declaration=declaration.model_copy(update={"scales": (declaration.scale(scale),)}),
        external={name: dict(spec) for name, spec in external.items()},
        threads=threads,
        device=device,
        versions=dict(versions),
        units=tuple(_locked(record, p50_ms) for record in finished(records)),
    )


def _locked(record: UnitRecord, p50_ms: Timings) -> LockedUnit:
    figures, baseline = record.figures, record.baseline
    if figures is None or baseline is None:
        raise ValueError(f"unit {record.arm} has no figures")
    return LockedUnit(
        arm=record.arm,
        seed=record.seed,
        key=record.key,
        accuracy=figures.accuracy,
        baseline_accuracy=baseline.accuracy,
        size_bytes=figures.size_bytes,
        macs=figures.macs,
        sha256=figures.sha256,
        data_sha256=record.data_sha256 or "",
        p50_ms={board: value for (sha256, board), value in p50_ms.items() if sha256 == figures.sha256},
    )


def read_lock(path: Path) -> StudyLock:
    """Return the lock of a file; StudyInvalid ``lock_invalid``."""
    try:
        lock = StudyLock.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError) as error:
        raise StudyInvalid(f"{path} is no lock file of a study: {error}", code="lock_invalid") from error
    found = declaration_sha256(lock.declaration, lock.scale)
    if found != lock.declaration_sha256:
        raise StudyInvalid(
            f"The study in {path} was edited: its hash is {found[:12]}, not {lock.declaration_sha256[:12]}. Take the file as it was written.",
            code="lock_edited",
        )
    return lock


class Moved(_Locked):
    """One figure that a repetition found otherwise."""

    arm: str
    seed: int
    figure: str
    locked: float | str
    found: float | str | None = Field(description="null: the unit failed this time.")
    within_tolerance: bool


def compare_with_lock(lock: StudyLock, records: Sequence[UnitRecord], p50_ms: Timings) -> list[Moved]:
    """Return the figures that moved: accuracy within 2 %, latency within 10 %, bytes, MACs and data must be the same."""
    found = {(unit.arm, unit.seed): unit for unit in (_locked(record, p50_ms) for record in finished(records))}
    moved: list[Moved] = []
    for unit in lock.units:
        own = found.get((unit.arm, unit.seed))
        if own is None:
            moved.append(_moved(unit, "accuracy", unit.accuracy, None, within=False))
            continue
        for figure in ("accuracy", "baseline_accuracy"):
            locked, now = getattr(unit, figure), getattr(own, figure)
            if now != locked:
                moved.append(_moved(unit, figure, locked, now, within=_near(locked, now, ACCURACY_TOLERANCE)))
        for figure in ("size_bytes", "macs", "data_sha256"):
            locked, now = getattr(unit, figure), getattr(own, figure)
            if now != locked:
                moved.append(_moved(unit, figure, locked, now, within=False))
        moved += _moved_latencies(unit, own)
    return moved


def _moved_latencies(unit: LockedUnit, own: LockedUnit) -> list[Moved]:
    shared = [board for board in unit.p50_ms if board in own.p50_ms and own.p50_ms[board] != unit.p50_ms[board]]
    return [
        _moved(
            unit,
            f"p50_ms on {board}",
            unit.p50_ms[board],
            own.p50_ms[board],
            within=_near(unit.p50_ms[board], own.p50_ms[board], LATENCY_TOLERANCE),
        )
        for board in shared
    ]


def _near(locked: float, now: float, tolerance: float) -> bool:
    return abs(now - locked) <= tolerance * abs(locked) + 1e-12


def _moved(unit: LockedUnit, figure: str, locked: float | str, now: float | str | None, *, within: bool) -> Moved:
    return Moved(arm=unit.arm, seed=unit.seed, figure=figure, locked=locked, found=now, within_tolerance=within)
