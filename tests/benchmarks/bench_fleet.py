"""The controller under the load of thousands of simulated agents, and under faults: ``make bench-fleet``.

Runs on SQLite and on a PostgreSQL of its own, and writes bench/fleet.json: ``backends.<name>`` has plain numbers, ``details``
what they were made of. CPU is the user and system time of the controller's process (not PostgreSQL's), over kept-alive
connections on loopback; ratios are to a hello endpoint of the same app in the same round.

    python tests/benchmarks/bench_fleet.py [--quick] [--only ratios,held,...] [--backends sqlite,postgresql] [--out FILE]
        [--seeds 1-100]
"""

import argparse
import contextlib
import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "agent", "controller", "compression", "deploy")]
from tests.benchmarks.fleet_load.controller_process import ControllerProcess, controller_running  # noqa: E402
from tests.benchmarks.fleet_load.draining import measure_drain  # noqa: E402
from tests.benchmarks.fleet_load.fault_runs import run_fault_schedules, seeds_of, together  # noqa: E402
from tests.benchmarks.fleet_load.holding import measure_dispatch, measure_held, measure_reconnect  # noqa: E402
from tests.benchmarks.fleet_load.postgres import PostgresServer, postgres_running  # noqa: E402
from tests.benchmarks.fleet_load.process_schedules import figures_of, run_process_schedules  # noqa: E402
from tests.benchmarks.fleet_load.ratios import Extent, measure_artifact, measure_ratios  # noqa: E402

JsonObject = dict[str, Any]
Measure = Callable[[ControllerProcess, bool], Coroutine[Any, Any, JsonObject]]
OUT = ROOT / "bench" / "fleet.json"
BACKENDS = ("sqlite", "postgresql")


def _extent(quick: bool) -> Extent:
    if quick:
        return Extent(n_agents=100, n_rounds=3, n_cheap=400, n_downloads=3)
    return Extent(n_agents=300, n_rounds=7, n_cheap=1500, n_downloads=21)


async def ratios(controller: ControllerProcess, quick: bool) -> JsonObject:
    """CPU per request of the hot routes."""
    return await measure_ratios(controller, _extent(quick))


async def artifact(controller: ControllerProcess, quick: bool) -> JsonObject:
    """CPU of sending 100 MiB."""
    return await measure_artifact(controller, _extent(quick))


async def held(controller: ControllerProcess, quick: bool) -> JsonObject:
    """Held long polls."""
    return await measure_held(controller, n_agents=500 if quick else 5000, idle_s=5 if quick else 20)


async def dispatch(controller: ControllerProcess, quick: bool) -> JsonObject:
    """Latency of dispatch."""
    return await measure_dispatch(controller, n_agents=100 if quick else 1000, n_rounds=20 if quick else 100)


async def reconnect(controller: ControllerProcess, quick: bool) -> JsonObject:
    """A thousand agents come back."""
    return await measure_reconnect(controller, n_agents=100 if quick else 1000)


async def drain(controller: ControllerProcess, quick: bool) -> JsonObject:
    """A long sweep."""
    sizes = (100, 200, 400) if quick else (1000, 2000, 5000, 10_000)
    return await measure_drain(controller, sizes, n_agents=20 if quick else 100)


def faults(server: PostgresServer | None, seeds: Sequence[int]) -> JsonObject:
    """Random schedules with crash points, inside this process, one for each seed."""
    url = server.create_database() if server is not None else None
    return run_fault_schedules(url, seeds)


def processes(server: PostgresServer | None, quick: bool) -> JsonObject:
    """Schedules with real processes and kill -9."""
    url = server.create_database() if server is not None else None
    with tempfile.TemporaryDirectory(prefix="edgefleet-bench-") as folder:
        return figures_of(run_process_schedules(Path(folder), url, server, n_schedules=10 if quick else 30, seed=1))


MEASURES: dict[str, Measure] = {
    "ratios": ratios,
    "artifact": artifact,
    "held": held,
    "dispatch": dispatch,
    "reconnect": reconnect,
    "drain": drain,
}
FIGURES: dict[str, tuple[str, ...]] = {
    "idle_claim_cpu_ratio": ("ratios", "idle_claim", "ratio"),
    "leasing_claim_cpu_ratio": ("ratios", "leasing_claim", "ratio"),
    "heartbeat_cpu_ratio": ("ratios", "heartbeat", "ratio"),
    "report_cpu_ratio": ("ratios", "report", "ratio"),
    "artifact_cpu_ms_per_100mib": ("artifact", "median_ms"),
    "held_poll_bytes_per_agent": ("held", "bytes_per_agent"),
    "held_poll_idle_core_share": ("held", "idle_core_share"),
    "dispatch_p95_ms_1000_agents": ("dispatch", "p95_ms"),
    "drain_exponent": ("drain", "exponent"),
    "orphan_processes": ("processes", "orphan_processes"),
}
"""Where in the details each figure comes from."""


BOOKS = ("runs_lost", "runs_double_counted", "stale_writes_accepted")
"""Counted by both kinds of fault schedules."""


def main() -> int:
    """Measure, print and write; the exit status is 0 when everything asked for was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small fleets: to see that it works, not for figures")
    parser.add_argument(
        "--only",
        default=",".join([*MEASURES, "faults", "processes"]),
        help="parts to measure; others keep the file's figures",
    )
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--seeds", help="of the part faults, such as 1-100; added to those that the file has (1-1000)")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    seeds = seeds_of(arguments.seeds or ("1-20" if arguments.quick else "1-1000"))
    for name in arguments.backends.split(","):
        with server_of(name) as server:
            for part in arguments.only.split(","):
                figures = measure_part(part, server, quick=arguments.quick, seeds=seeds)
                say(f"{name} {part}: {json.dumps(figures)}")
                found = store(arguments.out, name, part, figures)
    say(json.dumps(found["backends"], indent=2))
    return 0


def store(out: Path, backend: str, part: str, figures: JsonObject) -> JsonObject:
    """Write a part's figures into the file, which other runs may write at the same time; returns the whole of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found: JsonObject = json.loads(out.read_text()) if out.exists() else {}
        details = found.setdefault("details", {}).setdefault(backend, {})
        details[part] = together(details.get(part), figures) if part == "faults" else figures
        found.setdefault("backends", {})[backend] = figures_of_backend(details)
        out.write_text(json.dumps(found, indent=2) + "\n")
    return found


@contextlib.contextmanager
def server_of(backend: str) -> Iterator[PostgresServer | None]:
    """A PostgreSQL of the bench's own; None for SQLite, which lies in the data directory."""
    if backend == "sqlite":
        yield None
        return
    with postgres_running() as server:
        yield server


def measure_part(part: str, server: PostgresServer | None, *, quick: bool, seeds: Sequence[int]) -> JsonObject:
    """One part over a fresh store, with the conditions it was measured under."""
    conditions: JsonObject = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "load_before": os.getloadavg()[0]}
    started_s = time.monotonic()
    if part == "faults":
        figures = faults(server, seeds)
    elif part == "processes":
        figures = processes(server, quick)
    else:
        figures = _measure_load(part, server, quick=quick)
    took = {"took_s": round(time.monotonic() - started_s, 1), "load_after": os.getloadavg()[0], "quick": quick}
    return figures | {"conditions": conditions | took}


def _measure_load(part: str, server: PostgresServer | None, *, quick: bool) -> JsonObject:
    url = server.create_database() if server is not None else None
    with (
        tempfile.TemporaryDirectory(prefix="edgefleet-bench-") as folder,
        controller_running(Path(folder) / "data", url) as controller,
    ):
        return uvloop.run(MEASURES[part](controller, quick))


def figures_of_backend(details: JsonObject) -> JsonObject:
    """The plain numbers; null where a part was not run."""
    found = {key: look_up(details, path) for key, path in FIGURES.items()}
    inside, outside = details.get("faults"), details.get("processes")
    if inside is None or outside is None:
        return found | dict.fromkeys(("fault_schedules", *BOOKS))
    books = {name: inside["violations"].get(name, 0) + outside[name] for name in BOOKS}
    return found | {"fault_schedules": inside["n_schedules"] + outside["n_schedules"], **books}


def say(line: str) -> None:
    """Print at once: the bench runs for minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def look_up(details: JsonObject, path: tuple[str, ...]) -> Any:
    """The value at the path; null when it was not measured."""
    value: Any = details
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


if __name__ == "__main__":
    sys.exit(main())
