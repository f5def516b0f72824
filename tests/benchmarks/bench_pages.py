"""Server time of every page over a store with 100,000 runs and 200 boards: ``make bench-pages``.

On SQLite and on a PostgreSQL of its own; also how long headless Chromium takes to draw a front of 10,000 points. Times are those
of whole requests over a kept-alive connection on loopback, one after the other. Writes bench/pages.json; ends with 1 where a
page's 95th percentile is above 300 ms, or the drawing takes more than a second.

    python tests/benchmarks/bench_pages.py [--quick] [--backends sqlite,postgresql] [--rounds N] [--out FILE]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "agent", "controller", "compression", "deploy")]
from tests.benchmarks.fleet_load.postgres import postgres_running  # noqa: E402
from tests.benchmarks.pages_load.filling import Extent, Filled, analyse, fill  # noqa: E402
from tests.benchmarks.pages_load.front_in_browser import measure_front  # noqa: E402
from tests.browser.seeding import Seeded, seed, serving  # noqa: E402

JsonObject = dict[str, Any]
OUT = ROOT / "bench" / "pages.json"
BACKENDS = ("sqlite", "postgresql")
LIMIT_MS, LIMIT_DRAW_MS = 300.0, 1000.0
QUICK = Extent(n_boards=20, n_jobs=20, n_points=1000)
N_WARMUP = 2


def say(line: str) -> None:
    """A line for whoever waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def addresses(seeded: Seeded, filled: Filled) -> Mapping[str, str]:
    """Every page by a name, the larger ones in several ways."""
    first, second = filled.run_ids
    return {
        "fleet": "/fleet",
        "device": f"/devices/{filled.device_id}",
        "jobs": "/jobs",
        "job": f"/jobs/{filled.job_id}",
        "job of 10,000 runs": f"/jobs/{filled.large_job_id}",
        "new job": "/jobs/new",
        "run": f"/runs/{first}",
        "results": "/results",
        "results by latency": "/results?sort=latency_p50_ms",
        "results by energy, filtered": "/results?sort=energy_mj&verdict=valid&variant=int8",
        "results of a board": "/results?device=board-003&sort=accuracy",
        "results, page 1000": "/results?page=1000",
        "results of a job": f"/results?job={filled.large_job_id}&sort=latency_p90_ms",
        "two results": f"/results/compare?a={first}&b={second}",
        "front": f"/front?job={filled.job_id}",
        "front of 10,000 points": f"/front?job={filled.large_job_id}",
        "front of three figures": f"/front?job={filled.large_job_id}&z=energy_mj",
        "points of 10,000": f"/front/points.json?job={filled.large_job_id}",
        "models": "/models",
        "model": f"/models/{seeded.model_id}",
        "audit": "/audit",
        "tokens": "/tokens",
        "users": "/users",
    }


@contextmanager
def database_of(backend: str) -> Iterator[str | None]:
    """The URL of an empty database; None for the SQLite file of the data folder."""
    with postgres_running() if backend == "postgresql" else nullcontext() as server:
        yield None if server is None else server.create_database().replace("postgresql://", "postgresql+psycopg://")


def time_pages(url: str, token: str, pages: Mapping[str, str], n_rounds: int) -> JsonObject:
    """p50 and p95 of each page in ms, CPU of this process (server and client) for one request, and its bytes."""
    found = {}
    with httpx.Client(base_url=url, timeout=300, headers={"Accept": "text/html"}) as browser:
        assert browser.post("/login", data={"token": token}).status_code == 303
        for name, path in pages.items():
            times, cpu, answer = [], [], None
            for _ in range(N_WARMUP + n_rounds):
                begin, begin_cpu = time.perf_counter(), time.process_time()
                answer = browser.get(path)
                times.append(1e3 * (time.perf_counter() - begin))
                cpu.append(1e3 * (time.process_time() - begin_cpu))
            assert answer is not None
            assert answer.status_code == 200, f"{path}: {answer.status_code}"
            p50, p95 = np.percentile(times[N_WARMUP:], [50, 95])
            cpu_ms = float(np.median(cpu[N_WARMUP:]))
            figures = {"p50_ms": float(p50), "p95_ms": float(p95), "cpu_ms": cpu_ms}
            found[name] = {key: round(value, 1) for key, value in figures.items()} | {"bytes": len(answer.content)}
            said = "   ".join(f"{key} {value:8.1f}" for key, value in figures.items())
            say(f"{name:30} {said}   {len(answer.content):>9} bytes")
    return found


def measure(backend: str, extent: Extent, n_rounds: int) -> JsonObject:
    """One back end: fill it, time its pages, draw its large front."""
    with (
        tempfile.TemporaryDirectory() as folder,
        database_of(backend) as database_url,
        serving(Path(folder) / "data", database_url=database_url) as fleet,
    ):
        begin = time.monotonic()
        seeded = seed(fleet)
        with fleet.services.database.writing() as session:
            filled = fill(session, seeded, extent, fleet.clock.now())
        with fleet.services.database.writing() as session:
            analyse(session)
        fleet.services.desk.load()
        say(f"{backend}: {filled.n_runs} runs in {time.monotonic() - begin:.0f} s")
        token = fleet.services.operator_token
        pages = time_pages(fleet.url, token, addresses(seeded, filled), n_rounds)
        front = measure_front(fleet.url, token, filled.large_job_id)
        say(json.dumps(front))
        return {"n_runs": filled.n_runs, "n_boards": extent.n_boards, "pages": pages, "front_in_browser": front}


def too_slow(found: Mapping[str, JsonObject]) -> Sequence[str]:
    """What is above its limit."""
    slow = []
    for backend, figures in found.items():
        slow += [
            f"{backend}: {name}: p95 {page['p95_ms']} ms"
            for name, page in figures["pages"].items()
            if page["p95_ms"] > LIMIT_MS and not name.startswith("points")
        ]
        front = figures["front_in_browser"] or {}
        slow += [
            f"{backend}: {key} {front[key]:.0f}"
            for key in ("draw_ms", "redraw_max_ms")
            if front.get(key, 0) > LIMIT_DRAW_MS
        ]
    return slow


def main() -> int:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small store")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="with commas")
    parser.add_argument("--rounds", type=int, default=25, help="timed requests of each page")
    parser.add_argument("--out", type=Path, default=OUT, help="file of the figures")
    chosen = parser.parse_args()
    extent = QUICK if chosen.quick else Extent()
    found = {backend: measure(backend, extent, chosen.rounds) for backend in chosen.backends.split(",")}
    slow = too_slow(found)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps({"backends": found, "too_slow": slow, "limit_ms": LIMIT_MS}, indent=1) + "\n")
    say("\n".join(slow) or "all pages are within their limits")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
