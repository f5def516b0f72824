"""How much of an exhaustive grid's front a search finds with a fifth of its trials: ``make bench-search``.

The grid (ResNet-20 on CIFAR-10's JPEG copy, 228 recipes, each compressed, compiled and measured on one host) is a table under
docs/search. The bench carries five of its rows out again, searches the table with every sampler and many seeds, and writes
bench/search.json. With --grid it carries the whole grid out first, which takes most of an hour of one core; finished pieces
are kept under bench/compression, so a grid that is stopped goes on where it was.

    python tests/benchmarks/bench_search.py [--grid] [--seeds N] [--no-rerun] [--threads N]
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.benchmarks.compression_rows import cifar10  # noqa: E402 - found only now
from tests.benchmarks.search_rows.comparing import compare  # noqa: E402
from tests.benchmarks.search_rows.searching import Course, frame_and_volume, median_share, run, spec_of, trials_to  # noqa: E402
from tests.benchmarks.search_rows.table import Table  # noqa: E402

from edgefleet_agent.measure.environment import describe_host  # noqa: E402
from edgefleet_compression.search.samplers import SAMPLERS  # noqa: E402

WORK: Final = ROOT / "bench"
TABLE: Final = ROOT / "docs" / "search" / "resnet20_grid.json"
TRIALS_SHARE: Final = 0.2
GOAL: Final = 0.95


def main(arguments: Sequence[str] | None = None) -> int:
    """Write bench/search.json; 2 where there is neither a table nor the data to make one."""
    options = _parse(arguments)
    shared = ROOT.parent / "shared"
    if options.grid:
        if not cifar10.is_here(shared):
            _say(f"skipped: {shared} with the development data is not there")
            return 2
        _carry_out_grid(shared, options.threads)
    if not TABLE.is_file():
        _say(f"there is no table at {TABLE}: make it with --grid")
        return 2
    table = Table.read(TABLE)
    document = search(table, options.seeds)
    document["rerun"] = _rerun(table, shared, options.threads) if options.rerun else {"skipped": "not asked for"}
    WORK.mkdir(exist_ok=True)
    (WORK / "search.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


def search(table: Table, n_seeds: int) -> dict[str, Any]:
    """Return the figures of every sampler at a fifth of the grid's trials."""
    n_trials = int(TRIALS_SHARE * len(table.rows))
    courses: dict[str, list[Course]] = {}
    for sampler in SAMPLERS:
        began = time.perf_counter()
        courses[sampler] = [run(table, sampler, seed, n_trials) for seed in range(n_seeds)]
        _say(f"{sampler}: {median_share(courses[sampler], n_trials):.4f} ({time.perf_counter() - began:.0f} s)")
    last = {sampler: [course.shares[-1] for course in own] for sampler, own in courses.items()}
    compared = compare(last["tpe"], {name: shares for name, shares in last.items() if name != "tpe"})
    spec = spec_of(table, "tpe", 0, n_trials)
    return {
        "hypervolume_share": median_share(courses["tpe"], n_trials),
        "trials_share": n_trials / len(table.rows),
        "n_trials": n_trials,
        "n_rows": len(table.rows),
        "seeds": n_seeds,
        "goal": GOAL,
        "vs_random": asdict(compared["random"]),
        "vs_nsga2": asdict(compared["nsga2"]),
        "objectives": [objective.model_dump(mode="json") for objective in spec.objectives],
        "grid_hypervolume": frame_and_volume(table, spec)[1],
        "samplers": {sampler: _figures(own, n_trials) for sampler, own in courses.items()},
        "about": dict(table.about),
        "versions": {"optuna": version("optuna"), "python": platform.python_version()},
    }


def _figures(courses: Sequence[Course], n_trials: int) -> dict[str, Any]:
    return {
        "shares": [course.shares[-1] for course in courses],
        "median_by_trial": [round(median_share(courses, count), 4) for count in range(1, n_trials + 1)],
        "trials_to_goal": [trials_to(course, GOAL) for course in courses],
    }


def _carry_out_grid(shared: Path, threads: int) -> None:
    from tests.benchmarks.search_rows.carrying_out import Grid, in_order_of_work  # loads torch
    from tests.benchmarks.search_rows.resnet20 import DATA, SPACE

    from edgefleet_compression.search.space import grid

    plans = grid(SPACE)
    with _workshop(shared, threads) as workshop:
        works = Grid(workshop, _say)
        baseline, rows, began = works.baseline(), {}, time.perf_counter()
        for plan in in_order_of_work(plans):
            row = rows[plan.key] = works.row(plan)
            _say(
                f"{len(rows)}/{len(plans)} {dict(plan.point)} {row.size_bytes:,} bytes {row.accuracy_validation:.4f} "
                f"{row.latency_ratio:.3f} of the reference ({time.perf_counter() - began:.0f} s)"
            )
        about = {"host": describe_host(), "data": DATA, "threads": threads, "versions": _versions()}
    Table(SPACE, baseline, {plan.key: rows[plan.key] for plan in plans}, about).write(TABLE)


def _rerun(table: Table, shared: Path, threads: int) -> Any:
    if not cifar10.is_here(shared):
        return {"skipped": "the development data is not there"}
    from tests.benchmarks.search_rows.rerun import carry_out_again  # loads torch

    with _workshop(shared, threads) as workshop:
        return carry_out_again(table, workshop, 0, _say)


def _workshop(shared: Path, threads: int) -> Any:
    from tests.benchmarks.compression_rows.carrying_out import Workshop  # loads torch
    from tests.benchmarks.compression_rows.store import Store

    return Workshop(shared, Store(WORK / "compression"), threads)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", "onnxruntime", "ai-edge-litert", "litert-torch")}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a bench prints


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", action="store_true", help="carry the whole grid out and write its table")
    parser.add_argument("--seeds", type=int, default=20, help="of every sampler")
    parser.add_argument(
        "--threads", type=int, default=1, help="other numbers round otherwise: nothing kept is taken up"
    )
    parser.add_argument("--no-rerun", dest="rerun", action="store_false", help="carry no rows out again")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
