"""Carry a row out: recipe pass by pass, compile, accuracy of the file, timing; every piece is kept when it is done."""

import gzip
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, Self

import torch
from tests.benchmarks.compression_rows.models import DATA, MODELS, StartingModel
from tests.benchmarks.compression_rows.row import Outcome, Result, Row, Timing
from tests.benchmarks.compression_rows.store import Store, content_key
from tests.benchmarks.compression_rows.timing import measure

from edgefleet_compression.candidate import TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.data.fitting import fit_to
from edgefleet_compression.passes.application import apply, pass_seed
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.stats import count_network
from edgefleet_compression.training.compute import Arithmetic, Compute
from edgefleet_deploy.accuracy import evaluate as evaluate_file
from edgefleet_deploy.compiler import CompileContext, compiler_for
from edgefleet_deploy.targets import get_target

GENERATION: Final = 4
"""Raised when a change of this bench or of the engine makes kept results wrong."""


class NotFinished(LookupError):
    """A piece of the row has never been carried out."""


@dataclass(frozen=True)
class Made:
    """A candidate with its place in the store and what its passes cost. notes: the passes' own."""

    candidate: TorchCandidate
    key: str
    cost_s: float
    notes: tuple[str, ...] = ()


@dataclass
class Workshop:
    """Does the work of rows in one process; data sets and starting models are loaded when first needed."""

    shared: Path
    store: Store
    threads: int
    device: Literal["cpu", "cuda"] = "cpu"
    only_finished: bool = False
    """True: nothing is carried out, and a row of which a piece is missing raises NotFinished."""
    retime: bool = False
    """True: kept timings are measured anew."""
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: T201 - a bench prints
    _data: dict[str, DataSet] = field(default_factory=dict)
    _models: dict[str, Made] = field(default_factory=dict)

    def __enter__(self) -> Self:
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(True)
        return self

    def __exit__(self, *_: object) -> None:
        torch.use_deterministic_algorithms(False)

    def data(self, name: str) -> DataSet:
        """Return a data set variant; all stay in memory."""
        if name not in self._data:
            self._data[name] = DATA[name](self.shared)
        return self._data[name]

    def model(self, name: str) -> Made:
        """Return a starting model, trained first where it begins with random weights."""
        if name not in self._models:
            self._models[name] = self._start(name, MODELS[name])
        return self._models[name]

    def _start(self, name: str, model: StartingModel) -> Made:
        key = content_key(generation=GENERATION, model=name, fingerprint=model.fingerprint)
        found = self._kept(key)
        if found is None:
            self._require_work(name)
            found = self._keep(Made(model.make(self.shared, self.data(model.data)), key, 0.0))
        if model.training is None:
            return found
        return self.compressed(found, model.training, model.data, seed=0, arithmetic=model.arithmetic)

    def compressed(
        self,
        start: Made,
        recipe: Recipe,
        data: str,
        *,
        seed: int,
        sees_data: bool = True,
        arithmetic: Arithmetic = "float32",
    ) -> Made:
        """Return what ``run_recipe`` would, with every pass kept, so that recipes share what they begin with."""
        current, seen = start, self.data(data) if sees_data else None
        compute = Compute(self.device, arithmetic)
        differing = {} if compute == Compute() else {"compute": asdict(compute)}
        fitted = fit_to(start.candidate.structure, seen) if seen is not None else None
        for index, spec in enumerate(recipe.passes):
            key = content_key(
                before=current.key,
                spec=[spec.kind, spec.model_dump(mode="json", exclude_defaults=True)],
                seed=pass_seed(seed, index),
                data=data if sees_data else None,
                reference=start.key,
                threads=self.threads,
                **differing,
            )
            found = self._kept(key)
            if found is None:
                self._require_work(recipe.name)
                emit, unfinished = self._progress(recipe.name, index), self.store.place(key) / "unfinished"
                context = Context(
                    fitted, pass_seed(seed, index), start.candidate, emit, checkpoint_dir=unfinished, compute=compute
                )
                began = time.perf_counter()
                after = apply(spec, current.candidate, context)
                assert isinstance(after, TorchCandidate)
                cost_s = current.cost_s + time.perf_counter() - began
                notes = (*current.notes, *(note for record in after.history[-1:] for note in record.notes))
                found = self._keep(Made(after, key, cost_s, notes))
                shutil.rmtree(unfinished, ignore_errors=True)
            current = found
        return current

    def outcome(self, row: Row, recipe: Recipe, seed: int) -> tuple[Outcome, Path]:
        """Return one seed of a row with its file."""
        data = row.data or MODELS[row.model].data
        start, arithmetic = self.model(row.model), row.arithmetic or MODELS[row.model].arithmetic
        made = self.compressed(start, recipe, data, seed=seed, sees_data=not row.data_free, arithmetic=arithmetic)
        found, path = self._shipped(row, made, seed)
        return replace(found, cost_s=found.cost_s - start.cost_s), path

    def baseline(self, row: Row) -> tuple[Outcome, Path]:
        """Return the starting model as it is, BatchNorm's own statistics included, in the row's format with its file."""
        return self._shipped(row, self.model(row.model), 0)

    def _shipped(self, row: Row, made: Made, seed: int) -> tuple[Outcome, Path]:
        data = row.data or MODELS[row.model].data
        key = content_key(made=made.key, target=row.target, data=data, sees_data=not row.data_free, seed=seed)
        path = self.store.place(key) / get_target(row.target).file_name
        kept = self.store.read(key)
        if kept is None:
            self._require_work(row.name)
            kept = self._compiled(row, made, seed, data, path)
            self.store.finish(key, kept)
        return Outcome(**{**kept, "notes": tuple(kept["notes"])}), path

    def _compiled(self, row: Row, made: Made, seed: int, data: str, path: Path) -> dict[str, Any]:
        target, whole = get_target(row.target), self.data(data)
        compiler = compiler_for(target)
        with tempfile.TemporaryDirectory() as folder:
            sees = None if row.data_free else whole
            context = CompileContext(target, Path(folder), sees, seed, self.threads)
            compiled = compiler.compile(made.candidate, context)
        path.write_bytes(compiled.payload)
        loaded = compiler.open(compiled.payload, threads=self.threads)
        test = fit_to(made.candidate.structure, whole).test
        accuracy, _ = evaluate_file(loaded, compiled.inputs, {"x": test.x}, test.y)
        if accuracy.value is None:
            raise ValueError(f"{row.name}: the file's accuracy is unknown: {accuracy.reason}")
        stats = count_network(made.candidate.model, made.candidate.structure.input)
        return asdict(
            Outcome(
                seed=seed,
                sha256=content_key(payload=compiled.payload.hex()),
                size_bytes=len(compiled.payload),
                gzip_bytes=len(gzip.compress(compiled.payload, 9, mtime=0)),
                accuracy=accuracy.value,
                n_test=accuracy.n,
                validation_accuracy=_validation_accuracy(made.candidate),
                macs=stats.macs or 0,
                n_parameters=stats.n_parameters,
                sparsity=stats.sparsity,
                cost_s=made.cost_s,
                notes=tuple(dict.fromkeys((*made.notes, *compiled.notes))),
            )
        )

    def result(self, row: Row) -> Result:
        """Return the finished row."""
        baseline, baseline_path = self.baseline(row)
        outcomes, paths = zip(*(self.outcome(row, row.recipe, seed) for seed in row.seeds), strict=True)
        target = get_target(row.target)
        timing = self._timing(outcomes[0], baseline, paths[0], baseline_path, target.runtime) if row.timed else None
        label = self.data(row.data or MODELS[row.model].data).name
        return Result(row, target.runtime, label, outcomes, baseline, timing)

    def _timing(self, mine: Outcome, theirs: Outcome, path: Path, baseline: Path, runtime: str) -> Timing:
        key = content_key(timed=mine.sha256, against=theirs.sha256, runtime=runtime)
        kept = None if self.retime else self.store.read(key)
        if kept is None:
            if not self.retime:
                self._require_work("timing")
            kept = asdict(measure(path, baseline, runtime))
            self.store.finish(key, kept)
        return Timing(**{**kept, "interval": tuple(kept["interval"])})

    def _require_work(self, what: str) -> None:
        if self.only_finished:
            raise NotFinished(what)

    def _kept(self, key: str) -> Made | None:
        document = self.store.read(key)
        if document is None:
            return None
        candidate = load_candidate(self.store.place(key) / "candidate.safetensors")
        assert isinstance(candidate, TorchCandidate)
        return Made(candidate, key, document["cost_s"], tuple(document["notes"]))

    def _keep(self, made: Made) -> Made:
        save_candidate(made.candidate, self.store.place(made.key) / "candidate.safetensors")
        self.store.finish(made.key, {"cost_s": made.cost_s, "notes": made.notes})
        return made

    def _progress(self, name: str, index: int) -> Callable[..., None]:
        def report(fraction: float, message: str, **detail: Any) -> None:
            accuracy = detail.get("validation_accuracy")
            found = f", validation {accuracy:.4f}" if accuracy is not None else ""
            self.say(f"    {name}, pass {index + 1}: {fraction:.0%} {message}{found}")

        return report


def _validation_accuracy(candidate: TorchCandidate) -> float | None:
    """Return what the last training found on the validation split; None for a recipe that trains nothing."""
    found = [record.metrics.get("validation_accuracy") for record in candidate.history]
    return next((value for value in reversed(found) if value is not None), None)
