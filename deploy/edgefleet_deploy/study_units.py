"""Units of a study on this host: recipe, compiler, and accuracy of the file under its runtime."""

import gzip
import hashlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch

from edgefleet_compression.candidate import Candidate, TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.passes.application import apply, pass_seed
from edgefleet_compression.passes.specs import Budget, Train
from edgefleet_compression.stats import count_network
from edgefleet_compression.studies.declaration import StudyModel
from edgefleet_compression.studies.records import FileFigures, StudyFolder, UnitRecord, write_whole
from edgefleet_compression.studies.samples import chance_of, samples_of, with_share
from edgefleet_compression.studies.units import Unit
from edgefleet_compression.tasks import BASELINE_OPTIMIZER, BASELINE_SCHEDULE, TEXT_OPTIMIZER, new_candidate
from edgefleet_compression.training.compute import Compute, choose_device
from edgefleet_deploy.accuracy import HostAccuracy, evaluate
from edgefleet_deploy.compiler import CompileContext, CompiledFile, LoadedFile, compiler_for
from edgefleet_deploy.errors import ParityFailed
from edgefleet_deploy.targets import Target, get_target

BASELINE_STREAM: Final = 10_000
"""Added to a seed for the baseline's own training, so that it does not share its draws with a recipe's first pass."""


@dataclass
class _Memory:
    """What units of one model, data set and seed share; dropped when another comes."""

    belongs_to: str = ""
    data: DataSet | None = None
    candidates: dict[str, TorchCandidate] = field(default_factory=dict)
    baselines: dict[str, FileFigures] = field(default_factory=dict)


class LocalExecutor:
    """Carries units out in this process, one after the other; passes that recipes begin with are carried out once."""

    def __init__(self, *, threads: int = 1, device: Literal["auto", "cpu", "cuda"] = "cpu") -> None:
        self._threads = threads
        self._compute = Compute(choose_device(device), "float32")
        self._memories: dict[str, _Memory] = {}

    def carry_out(self, unit: Unit, folder: StudyFolder) -> UnitRecord:
        """Return the unit's figures beside its baseline's."""
        torch.set_num_threads(self._threads)
        torch.use_deterministic_algorithms(True)
        memory = self._memory(unit)
        data = self._data(unit, memory)
        trained = self._trained(unit, memory, data)
        target = get_target(unit.arm.target)
        baseline = memory.baselines.get(target.name)
        if baseline is None:
            baseline, _ = self._shipped(trained, data, data, target, unit.seed, None)
            memory.baselines[target.name] = baseline
        made = self._compressed(unit, memory, data, trained)
        seen = None if unit.arm.recipe.is_data_free else data
        figures, notes = self._shipped(made, data, seen, target, unit.seed, folder)
        n_passes = len(unit.arm.recipe.passes)
        own = [note for record in made.history[-n_passes:] for note in record.notes] if n_passes else []
        return UnitRecord(
            key=unit.key,
            arm=unit.arm.name,
            seed=unit.seed,
            figures=figures,
            baseline=baseline,
            chance=chance_of(data),
            data_sha256=data.sha256(),
            notes=tuple(dict.fromkeys((*own, *notes))),
        )

    def _memory(self, unit: Unit) -> _Memory:
        """Return what the units of this model, data and seed share; those of an earlier seed are dropped."""
        place = _hash(unit.model.model_dump(mode="json"), unit.data.model_dump(mode="json"))
        seed = str(unit.seed)
        found = self._memories.get(place)
        if found is None or found.belongs_to != seed:
            found = self._memories[place] = _Memory(belongs_to=seed)
        return found

    def _data(self, unit: Unit, memory: _Memory) -> DataSet:
        if memory.data is None:
            memory.data = samples_of(unit.data, unit.seed)
        return memory.data

    def _trained(self, unit: Unit, memory: _Memory, data: DataSet) -> TorchCandidate:
        if "trained" not in memory.candidates:
            drawn = new_candidate(unit.model.architecture, unit.model.arguments, data, seed=unit.seed)
            memory.candidates["untrained"] = drawn
            spec = _baseline_training(unit.model, drawn)
            fitted = fit_to(drawn.structure, data)
            memory.candidates["trained"] = self._applied(spec, drawn, fitted, unit.seed + BASELINE_STREAM, 0, drawn)
        return memory.candidates["trained"]

    def _compressed(self, unit: Unit, memory: _Memory, data: DataSet, trained: TorchCandidate) -> TorchCandidate:
        """Return what the recipe makes, as ``run_recipe`` would; what is known of its first passes is not done again."""
        arm = unit.arm
        start = trained if arm.start == "trained" else memory.candidates["untrained"]
        seen = (
            None if arm.recipe.is_data_free else with_share(fit_to(start.structure, data), arm.train_share, unit.seed)
        )
        current, key = start, _hash(arm.start, arm.train_share if seen is not None else None)
        for index, spec in enumerate(arm.recipe.passes):
            key = _hash(key, spec.kind, spec.model_dump(mode="json"))
            found = memory.candidates.get(key)
            if found is None:
                found = self._applied(spec, current, seen, unit.seed, index, start)
                if index + 1 < len(arm.recipe.passes):
                    memory.candidates[key] = found
            current = found
        return current

    def _applied(
        self, spec: Any, before: TorchCandidate, data: DataSet | None, seed: int, index: int, reference: TorchCandidate
    ) -> TorchCandidate:
        after: Candidate = apply(spec, before, Context(data, pass_seed(seed, index), reference, compute=self._compute))
        assert isinstance(after, TorchCandidate)
        return after

    def _shipped(
        self,
        made: TorchCandidate,
        data: DataSet,
        seen: DataSet | None,
        target: Target,
        seed: int,
        folder: StudyFolder | None,
    ) -> tuple[FileFigures, tuple[str, ...]]:
        """Return the compiled file's figures and notes; the file is left in the folder where there is one."""
        compiler = compiler_for(target)
        with tempfile.TemporaryDirectory() as work_dir:
            compiled = compiler.compile(made, CompileContext(target, Path(work_dir), seen, seed, self._threads))
        loaded = compiler.open(compiled.payload, threads=self._threads)
        fitted = fit_to(made.structure, data)
        test, validation = (_accuracy(loaded, compiled, split) for split in (fitted.test, fitted.validation))
        stats = count_network(made.model, made.structure.input)
        sha256, operators = hashlib.sha256(compiled.payload).hexdigest(), _operators(compiled)
        if folder is not None:
            _keep(folder, sha256, target.file_name, compiled.payload, operators)
        figures = FileFigures(
            accuracy=test.value or 0.0,
            accuracy_validation=validation.value or 0.0,
            f1_macro=test.metrics.f1_macro if test.metrics else 0.0,
            n_test=test.n,
            size_bytes=len(compiled.payload),
            gzip_bytes=len(gzip.compress(compiled.payload, 9, mtime=0)),
            sha256=sha256,
            macs=stats.macs or 0,
            n_parameters=stats.n_parameters,
            sparsity=stats.sparsity,
            operators=None if operators is None else hashlib.sha256(operators.encode()).hexdigest(),
        )
        return figures, compiled.notes


def _baseline_training(model: StudyModel, drawn: TorchCandidate) -> Train:
    """Return the training that ``train_model`` does, with the model's own rate where it has one."""
    optimizer = TEXT_OPTIMIZER if drawn.structure.input.dtype == "int64" else BASELINE_OPTIMIZER
    if model.lr is not None:
        optimizer = optimizer.model_copy(update={"lr": model.lr})
    return Train(budget=Budget(epochs=model.epochs), optimizer=optimizer, lr_schedule=BASELINE_SCHEDULE)


def _accuracy(loaded: LoadedFile, compiled: CompiledFile, split: Split) -> HostAccuracy:
    found, _ = evaluate(loaded, compiled.inputs, {"x": split.x}, split.y)
    if found.value is None:
        raise ParityFailed(f"the file's accuracy is unknown: {found.reason}", code="accuracy_unknown")
    return found


def _operators(compiled: CompiledFile) -> str | None:
    """Return the operator table that simulated boards take, as JSON."""
    if compiled.operators is None:
        return None
    rows = [item.model_dump(mode="json") for item in compiled.operators]
    return json.dumps({"precision": compiled.precision, "operators": rows}, sort_keys=True)


def _keep(folder: StudyFolder, sha256: str, name: str, payload: bytes, operators: str | None) -> None:
    place = folder.artifact(sha256)
    place.mkdir(parents=True, exist_ok=True)
    partial = place / f".{name}.partial"
    partial.write_bytes(payload)
    partial.replace(place / name)
    if operators is not None:
        write_whole(folder.operators(hashlib.sha256(operators.encode()).hexdigest()), operators + "\n")


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
