"""What a row of the compression bench is, and what it found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgefleet_compression.recipe import Recipe
from edgefleet_compression.training.compute import Arithmetic

Scale = Literal["quick", "sweep", "full", "gpu"]
"""quick: all within 15 minutes on two cores. sweep: many techniques, within an hour or two. full: hours on a CPU. gpu: days
on a CPU.
"""


@dataclass(frozen=True)
class Goal:
    """What the row is to reach; None: no such bound. Ratios are baseline over row, retention row over baseline."""

    retention: float | None = None
    size_ratio: float | None = None
    macs_ratio: float | None = None
    speedup: float | None = None

    def missed(self, figures: Mapping[str, Any]) -> list[str]:
        """Return the names of the figures that lie below their bound or are unknown."""
        bounds = {
            "retention": self.retention,
            "size_ratio": self.size_ratio,
            "macs_ratio": self.macs_ratio,
            "speedup_p50": self.speedup,
        }
        wanted = {name: bound for name, bound in bounds.items() if bound is not None}
        return [name for name, bound in wanted.items() if figures.get(name) is None or figures[name] < bound]


@dataclass(frozen=True)
class Row:
    """One recipe on one starting model for one target.

    data: name of the data set variant that trains, calibrates and tests; empty means the model's own. data_free: neither
    recipe nor compiler sees any of it. arithmetic: of the recipe's float trainings; None: the starting model's. timed: the agent measures memory and speed. control: the row that this one has to
    beat at equal budget. other_controls: the same, for other parts of its recipe. table: heading it stands under.
    """

    name: str
    model: str
    recipe: Recipe
    target: str
    table: str
    scale: Scale = "quick"
    seeds: tuple[int, ...] = (0,)
    data: str = ""
    data_free: bool = False
    arithmetic: Arithmetic | None = None
    timed: bool = True
    goal: Goal | None = None
    control: str | None = None
    other_controls: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a row that could not be told from another or that has no seed."""
        if not self.name or not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"row {self.name!r} needs a name and distinct seeds, got {self.seeds}")


@dataclass(frozen=True)
class Outcome:
    """One seed of a row: the compiled file on the test split. cost_s: wall seconds of the passes, compiling not counted."""

    seed: int
    sha256: str
    size_bytes: int
    gzip_bytes: int
    accuracy: float
    n_test: int
    validation_accuracy: float | None
    macs: int
    n_parameters: int
    sparsity: float
    cost_s: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timing:
    """What the agent measured, one thread, batch 1: the file's own run, and in turns with the baseline's file."""

    p50_ms: float
    peak_memory_bytes: int | None
    speedup: float
    interval: tuple[float, float]
    outcome: str
    verdict: str
    load_average_1m: float | None


@dataclass(frozen=True)
class Result:
    """A finished row: outcomes by seed, those of the baseline in the same format, and the timing of the first seed."""

    row: Row
    runtime: str
    label: str
    outcomes: tuple[Outcome, ...]
    baseline: Outcome
    timing: Timing | None = None

    def figures(self) -> dict[str, Any]:
        """Return the row as the JSON document lists it: sizes of the first seed, accuracy as the mean over seeds."""
        first, accuracy = self.outcomes[0], sum(item.accuracy for item in self.outcomes) / len(self.outcomes)
        timing = self.timing
        figures: dict[str, Any] = {
            "name": self.row.name,
            "table": self.row.table,
            "scale": self.row.scale,
            "model": self.row.model,
            "data": self.label,
            "recipe": self.row.recipe.model_dump(mode="json"),
            "seeds": list(self.row.seeds),
            "target": self.row.target,
            "runtime": self.runtime,
            "size_bytes": first.size_bytes,
            "gzip_bytes": first.gzip_bytes,
            "baseline_size_bytes": self.baseline.size_bytes,
            "size_ratio": self.baseline.size_bytes / first.size_bytes,
            "macs": first.macs,
            "macs_ratio": self.baseline.macs / first.macs,
            "sparsity": first.sparsity,
            "peak_memory_bytes": timing.peak_memory_bytes if timing else None,
            "accuracy": accuracy,
            "baseline_accuracy": self.baseline.accuracy,
            "retention": accuracy / self.baseline.accuracy,
            "speedup_p50": timing.speedup if timing else None,
            "cost_s": sum(item.cost_s for item in self.outcomes) / len(self.outcomes),
            "n_test": first.n_test,
            "note": self.row.note,
            "control": self.row.control,
            "other_controls": list(self.row.other_controls),
            "timing": asdict(timing) if timing else None,
            "outcomes": [asdict(item) for item in self.outcomes],
        }
        goal = self.row.goal
        return {
            **figures,
            "goal": asdict(goal) if goal else None,
            "missed": goal.missed(figures) if goal else None,
        }
