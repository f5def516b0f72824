"""Candidates of finished passes, so that a recipe that was killed does not begin from its first pass."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from edgefleet_compression.candidate import (
    Candidate,
    OnnxCandidate,
    TorchCandidate,
    file_name,
    load_candidate,
    save_candidate,
)
from edgefleet_compression.checkpoints import digest
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.records import StepRecord
from edgefleet_compression.training.compute import Compute

_RECORDS: TypeAdapter[tuple[StepRecord, ...]] = TypeAdapter(tuple[StepRecord, ...])


class FinishedPasses:
    """Files of one recipe on one candidate, data set and seed; those of other work are not taken."""

    def __init__(
        self, folder: Path, recipe: Recipe, candidate: Candidate, data: DataSet | None, seed: int, compute: Compute
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        origin: Mapping[str, Any] | str = (
            candidate.model.state_dict()
            if isinstance(candidate, TorchCandidate)
            else candidate.model.SerializeToString(deterministic=True).hex()
        )
        versions = [str(torch.__version__), torch.get_num_threads(), asdict(compute)]
        self._origin = digest(seed, None if data is None else data.sha256(), versions, origin)

    def folder(self, index: int) -> Path:
        """Return the folder of one pass."""
        return self._folder / f"pass-{index}"

    def keep(self, index: int, candidate: Candidate) -> None:
        """Write the candidate that this pass left; the document that makes it count comes last."""
        folder = self.folder(index)
        folder.mkdir(parents=True, exist_ok=True)
        save_candidate(candidate, folder / file_name(candidate))
        document = {
            "fingerprint": self._fingerprint(index),
            "file": file_name(candidate),
            "records": _RECORDS.dump_python(candidate.history, mode="json"),
        }
        partial = folder / f".finished.json.{os.getpid()}.partial"
        partial.write_text(json.dumps(document), encoding="utf-8")
        partial.replace(folder / "finished.json")

    def latest(self) -> tuple[int, Candidate] | None:
        """Return how many passes are done, and the candidate that the last of them left; None if none is."""
        for index in reversed(range(len(self._recipe.passes))):
            found = self._load(index)
            if found is not None:
                return index + 1, found
        return None

    def _load(self, index: int) -> Candidate | None:
        path = self.folder(index) / "finished.json"
        if not path.is_file():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["fingerprint"] != self._fingerprint(index):
                return None
            candidate = load_candidate(path.with_name(document["file"]))
            records = _RECORDS.validate_python(document["records"])
        except (ModelFileInvalid, ValueError, KeyError):
            return None  # a disk that lost part of it: the pass is carried out again, with the same result
        return _with_history(candidate, records)

    def _fingerprint(self, index: int) -> str:
        passes = [spec.model_dump(mode="json") for spec in self._recipe.passes[: index + 1]]
        return digest(passes, self._origin)


def _with_history(candidate: Candidate, history: tuple[StepRecord, ...]) -> Candidate:
    """Return the candidate with the records as they were in memory: with wall times and curves."""
    if isinstance(candidate, OnnxCandidate):
        return OnnxCandidate(candidate.model, candidate.plan, history)
    return TorchCandidate(candidate.model, candidate.structure.model_copy(update={"history": history}))
