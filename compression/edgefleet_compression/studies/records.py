"""What units of a study found, each in a file of its own that is written whole or not at all. Torch-free."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgefleet_compression.errors import StudyInvalid

RECORDS: Final = "records"
TIMINGS: Final = "timings"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileFigures(_Record):
    """One compiled file on the test split, under its runtime on this host."""

    accuracy: float = Field(ge=0, le=1, description="Share of test samples answered rightly.")
    accuracy_validation: float = Field(ge=0, le=1, description="The same of the validation split: for choices.")
    f1_macro: float = Field(ge=0, le=1, description="Mean of the classes' F1 on the test split.")
    n_test: int = Field(ge=1)
    size_bytes: int = Field(ge=1, description="Of the file that ships.")
    gzip_bytes: int = Field(ge=1)
    sha256: str
    macs: int = Field(ge=0, description="Multiply-accumulates of one sample; zeros count like other weights.")
    n_parameters: int = Field(ge=0)
    sparsity: float = Field(ge=0, le=1, description="Share of exact zeros among the weights.")
    operators: str | None = Field(
        None, description="sha256 of the operator table that simulated boards take; null: none."
    )


class UnitRecord(_Record):
    """One arm with one seed: what it made beside the baseline of the same seed, or why it failed."""

    key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hash of all that went into it.")
    arm: str
    seed: int
    figures: FileFigures | None = None
    baseline: FileFigures | None = Field(
        None, description="The model as it was trained, in float, for the same target."
    )
    chance: float | None = Field(None, ge=0, lt=1, description="Accuracy of guessing: one over the number of classes.")
    data_sha256: str | None = None
    cost_s: float = Field(0.0, ge=0, description="Wall seconds of recipe, compilation and evaluation.")
    notes: tuple[str, ...] = ()
    error: dict[str, str] | None = Field(None, description="code and message of a unit that failed.")


class Timing(_Record):
    """Latency of one file on one board, batch 1, one thread; or, with ``against``, of one file in turns with another."""

    sha256: str
    board: str
    against: str | None = Field(None, description="sha256 of the other file.")
    provenance: Literal["measured", "simulated"]
    p50_ms: float | None = Field(None, gt=0)
    ratio: float | None = Field(None, gt=0, description="p50 of the other file over this one's.")
    interval: tuple[float, float] | None = Field(None, description="95 % interval of the ratio or of p50_ms.")
    n: int | None = None
    verdict: str | None = None
    reason: str | None = Field(None, description="Why there is no figure.")
    conditions: dict[str, Any] = Field(default_factory=dict, description="What the measuring agent says of the host.")


RecordT = TypeVar("RecordT", UnitRecord, Timing)


@dataclass(frozen=True)
class StudyFolder:
    """Where a study keeps its work."""

    path: Path

    def record(self, key: str) -> UnitRecord | None:
        """Return the record of a finished unit, or None."""
        return _read(self.path / RECORDS / f"{key}.json", UnitRecord)

    def keep(self, record: UnitRecord) -> None:
        """Write a unit's record: from now on it is finished."""
        write_whole(self.path / RECORDS / f"{record.key}.json", record.model_dump_json(indent=1) + "\n")

    def timing(self, sha256: str, board: str, *, against: str | None = None) -> Timing | None:
        """Return a timing, or None."""
        return _read(self._timing_path(sha256, board, against), Timing)

    def keep_timing(self, timing: Timing) -> None:
        """Write a timing."""
        path = self._timing_path(timing.sha256, timing.board, timing.against)
        write_whole(path, timing.model_dump_json(indent=1) + "\n")

    def _timing_path(self, sha256: str, board: str, against: str | None) -> Path:
        other = f"-{against[:16]}" if against else ""
        return self.path / TIMINGS / f"{board}-{sha256[:16]}{other}.json"

    def artifact(self, sha256: str) -> Path:
        """Return the folder of a compiled file."""
        return self.path / "artifacts" / sha256[:20]

    def artifact_file(self, sha256: str) -> Path:
        """Return the compiled file itself; StudyInvalid ``artifact_missing`` where it was removed."""
        found = sorted(self.artifact(sha256).glob("model.*"))
        if not found:
            raise StudyInvalid(
                f"The file {sha256[:12]} of a finished unit is gone from {self.path}: remove its record and run the study again.",
                code="artifact_missing",
            )
        return found[0]

    def operators(self, digest: str) -> Path:
        """Return the place of an operator table."""
        return self.path / "operators" / f"{digest[:20]}.json"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a kill at any moment leaves the old one, the new one or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read(path: Path, of_type: type[RecordT]) -> RecordT | None:
    if not path.is_file():
        return None
    try:
        return of_type.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise StudyInvalid(
            f"The record {path} cannot be read ({error}): remove it, and its unit is carried out again.",
            code="record_damaged",
        ) from error


def finished(records: Iterable[UnitRecord]) -> list[UnitRecord]:
    """Return the records that hold figures."""
    return [record for record in records if record.figures is not None and record.baseline is not None]
