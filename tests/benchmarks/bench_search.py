"""How much of an exhaustive grid's front a search finds with a fifth of its trials: ``make bench-search``.

The grid (ResNet-20 on CIFAR-10's JPEG copy, 216 recipes, each compressed, compiled and measured on one host) is a table under
docs/search. The bench carries five of its rows out again, searches the table with every sampler and many seeds, and writes
bench/search.json. With --grid it carries the whole grid out first, which takes most of an hour of one core; finished pieces
are kept under bench/compression, so a grid that is stopped goes on where it was.

    python tests/benchmarks/bench_search.py [--grid [--part I N | --retime]] [--seeds N] [--no-rerun] [--threads N]
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.benchmarks.compression_rows import cifar10  # noqa: E402 - found only now
from tests.benchmarks.search_rows.comparing import compare  # noqa: E402
from tests.benchmarks.search_rows.plotting import draw  # noqa: E402
from tests.benchmarks.search_rows.resnet20 import DATA  # noqa: E402
from tests.benchmarks.search_rows.searching import (  # noqa: E402
    ARMS,
    Course,
    attained_front,
    frame_and_volume,
    front_keys,
    median_share,
    run,
    spec_of,
    trials_to,
)
from tests.benchmarks.search_rows.table import Table  # noqa: E402

from edgefleet_agent.measure.environment import describe_host  # noqa: E402
from edgefleet_compression.errors import StepError  # noqa: E402
from edgefleet_compression.search.space import Plan  # noqa: E402

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
        if options.part:
            _make_part(shared, options.threads, *options.part)
            return 0
        _carry_out_grid(shared, options.threads, retime=options.retime)
    if not TABLE.is_file():
        _say(f"there is no table at {TABLE}: make it with --grid")
        return 2
    table = Table.read(TABLE)
    courses, n_trials = search(table, options.seeds)
    document = figures(table, courses, n_trials)
    TABLE.with_name("curves.svg").write_text(draw(courses, n_trials, GOAL))
    document["rerun"] = _rerun(table, shared, options.threads) if options.rerun else {"skipped": "not asked for"}
    WORK.mkdir(exist_ok=True)
    (WORK / "search.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


def search(table: Table, n_seeds: int) -> tuple[dict[str, list[Course]], int]:
    """Return every arm's courses, one for each seed, of a fifth of the grid's trials, and how many trials that is."""
    n_trials = int(TRIALS_SHARE * len(table.rows))
    courses: dict[str, list[Course]] = {}
    for arm in ARMS:
        began = time.perf_counter()
        courses[arm] = [run(table, arm, seed, n_trials) for seed in range(n_seeds)]
        _say(f"{arm}: {median_share(courses[arm], n_trials):.4f} ({time.perf_counter() - began:.0f} s)")
    return courses, n_trials


def figures(table: Table, courses: Mapping[str, Sequence[Course]], n_trials: int) -> dict[str, Any]:
    """Return what bench/search.json says."""
    last = {arm: [course.shares[-1] for course in own] for arm, own in courses.items()}
    compared = compare(last["search"], {arm: last[arm] for arm in ("random", "nsga2")})
    parts = compare(last["tpe"], {arm: last[arm] for arm in ("random", "nsga2")})
    begun = compare(last["search"], {arm: last[arm] for arm in ("tpe", "random_begun_known")})
    spec = spec_of(table, ARMS["search"], 0, n_trials)
    return {
        "hypervolume_share": median_share(courses["search"], n_trials),
        "trials_share": n_trials / len(table.rows),
        "n_trials": n_trials,
        "n_rows": len(table.rows),
        "seeds": len(courses["search"]),
        "goal": GOAL,
        "vs_random": asdict(compared["random"]),
        "vs_nsga2": asdict(compared["nsga2"]),
        "without_first_points": {against: asdict(found) for against, found in parts.items()},
        "what_each_part_adds": {against: asdict(found) for against, found in begun.items()},
        "objectives": [objective.model_dump(mode="json") for objective in spec.objectives],
        "n_first_points": len(spec.warm_starts),
        "grid_hypervolume": frame_and_volume(table, spec)[1],
        "n_front": len(front_keys(table)),
        "attained_by_half_of_the_seeds": attained_front(table, spec, courses["search"]),
        "arms": {arm: _figures(own, n_trials) for arm, own in courses.items()},
        "about": dict(table.about),
        "versions": {"optuna": version("optuna"), "python": platform.python_version()},
    }


def _figures(courses: Sequence[Course], n_trials: int) -> dict[str, Any]:
    return {
        "shares": [round(course.shares[-1], 5) for course in courses],
        "median_by_trial": [round(median_share(courses, count), 4) for count in range(1, n_trials + 1)],
        "trials_to_goal": [trials_to(course, GOAL) for course in courses],
    }


def _carry_out_grid(shared: Path, threads: int, *, retime: bool) -> None:
    from tests.benchmarks.search_rows.carrying_out import Grid, in_order_of_work  # loads torch
    from tests.benchmarks.search_rows.resnet20 import SPACE

    from edgefleet_compression.search.space import grid

    plans = in_order_of_work(grid(SPACE))
    with _workshop(shared, threads) as workshop:
        works = Grid(workshop, _say, retime=retime)
        refused = _make_all(works, plans)
        made = [plan for plan in plans if plan.key not in refused]
        rows = {}
        for plan in made:  # timed one after the other, so that they meet one and the same host
            rows[plan.key] = works.row(plan)
            _say(f"timed {len(rows)}/{len(made)} {dict(plan.point)} {rows[plan.key].latency_ratio:.3f}")
        baseline, about = works.baseline(), {**_about(threads), "refused": list(refused.values())}
        table = Table(SPACE, baseline, {plan.key: rows[plan.key] for plan in grid(SPACE) if plan.key in rows}, about)
        front = front_keys(table)
        reported = {plan.key: works.row(plan, reports=True) for plan in made if plan.key in front}
    Table(SPACE, baseline, {**table.rows, **reported}, about).write(TABLE)


def _make_part(shared: Path, threads: int, part: int, n_parts: int) -> None:
    """Make the files of every n-th structure, so that several processes share the work; nothing is timed or written."""
    from tests.benchmarks.search_rows.carrying_out import Grid, in_order_of_work  # loads torch
    from tests.benchmarks.search_rows.resnet20 import SPACE

    from edgefleet_compression.search.space import grid

    plans = in_order_of_work(grid(SPACE))
    structures = list(dict.fromkeys((plan.point["blocks"], plan.point["channels"]) for plan in plans))
    mine = set(structures[part::n_parts])
    with _workshop(shared, threads) as workshop:
        works = Grid(workshop, _say)
        _make_all(works, [plan for plan in plans if (plan.point["blocks"], plan.point["channels"]) in mine])


def _make_all(works: Any, plans: Sequence[Plan]) -> dict[str, dict[str, Any]]:
    """Make every file and return the plans that cannot be made, by key, each with its point and cause."""
    refused: dict[str, dict[str, Any]] = {}
    began = time.perf_counter()
    for count, plan in enumerate(plans):
        try:
            outcome, accuracy = works.make(plan)
            found = f"{outcome.size_bytes:,} bytes {accuracy:.4f}"
        except StepError as error:
            refused[plan.key] = {"point": dict(plan.point), "code": error.code, "message": error.message}
            found = str(error)
        _say(f"{count + 1}/{len(plans)} {dict(plan.point)} {found} ({time.perf_counter() - began:.0f} s)")
    return refused


def _about(threads: int) -> dict[str, Any]:
    return {"host": describe_host(), "data": DATA, "threads": threads, "versions": _versions()}


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
    parser.add_argument(
        "--part",
        type=int,
        nargs=2,
        metavar=("I", "N"),
        help="with --grid: only make the files of structures I, I + N, ...",
    )
    parser.add_argument("--retime", action="store_true", help="with --grid: measure the speed of every file anew")
    parser.add_argument("--seeds", type=int, default=20, help="of every sampler")
    parser.add_argument(
        "--threads", type=int, default=1, help="other numbers round otherwise: nothing kept is taken up"
    )
    parser.add_argument("--no-rerun", dest="rerun", action="store_false", help="carry no rows out again")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
