"""What compression gives, as rows of figures of the compiled files: ``make bench-compression``.

Rows are declared in ``compression_rows``; finished pieces are kept under bench/compression by the hash of what went into
them, so that a bench that is stopped goes on where it was. Writes bench/compression.json and bench/compression.md; with --publish
also docs/compression/results.json and results.md, which keep rows of earlier runs.

    python tests/benchmarks/bench_compression.py [--scale quick|sweep|full|gpu] [--rows NAME,...] [--list] [--publish]
        [--finished | --retime] [--threads N] [--device auto|cpu|cuda]
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, get_args

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.benchmarks.compression_rows import cifar10  # noqa: E402 - found only now
from tests.benchmarks.compression_rows.carrying_out import NotFinished, Workshop  # noqa: E402
from tests.benchmarks.compression_rows.catalogue import ROWS, chosen  # noqa: E402
from tests.benchmarks.compression_rows.models import MODELS  # noqa: E402
from tests.benchmarks.compression_rows.row import Row, Scale  # noqa: E402
from tests.benchmarks.compression_rows.store import Store  # noqa: E402
from tests.benchmarks.compression_rows.tables import tables  # noqa: E402

from edgefleet_agent.measure.environment import describe_host  # noqa: E402
from edgefleet_compression.errors import CompressionError  # noqa: E402
from edgefleet_compression.training.compute import choose_device  # noqa: E402
from edgefleet_deploy.errors import DeployError  # noqa: E402

WORK: Final = ROOT / "bench"
PUBLISHED: Final = ROOT / "docs" / "compression"
PACKAGES: Final = ("torch", "onnxruntime", "ai-edge-litert", "torch-pruning")
PREFACE: Final = """# Measured rows

Written by `make bench-compression`; not edited by hand. Accuracy is the compiled file's on the test split, sizes are bytes
of files (row and baseline of the same runtime, neither with metadata), MACs are multiply-accumulates, speed-up is the
p50 of the baseline's file over this one's, both in turns on one thread, and retention is accuracy over that of the
baseline. "CIFAR-10 (JPEG copy)" is a lossy copy: compare within it only.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the chosen rows and write the figures; 1 when a row could not be finished, 2 for an unknown row."""
    options = _parse(arguments)
    try:
        rows = chosen(options.scale, [name for name in options.rows.split(",") if name])
    except KeyError as error:
        print(f"there is no row {error}; --list names them all", file=sys.stderr)  # noqa: T201
        return 2
    if options.list:
        print("\n".join(f"{row.scale:6} {row.name:32} {row.table}" for row in rows))  # noqa: T201
        return 0
    shared = ROOT.parent / "shared"
    possible = [row for row in rows if cifar10.is_here(shared) or not MODELS[row.model].needs_shared]
    for row in rows:
        if row not in possible:
            print(f"skipped {row.name}: {shared} with the development data is not there", file=sys.stderr)  # noqa: T201
    if options.device == "cuda":
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # torch asks for it to give the same bytes every time
    workshop = Workshop(
        shared,
        Store(WORK / "compression"),
        options.threads,
        choose_device(options.device),
        only_finished=options.finished or options.retime,
        retime=options.retime,
    )
    found, failed = carry_out(possible, workshop)
    write(found, publish=options.publish)
    return 1 if failed else 0


def carry_out(rows: Sequence[Row], workshop: Workshop) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the finished rows' figures and the names of those that failed; one row's error does not stop the others."""
    found: list[dict[str, Any]] = []
    failed: list[str] = []
    versions = {name: version(name) for name in PACKAGES}
    with workshop:
        for row in rows:
            began = time.perf_counter()
            try:
                figures = workshop.result(row).figures()
            except NotFinished as error:
                workshop.say(f"{row.name} is not finished: {error}")
                continue
            except (CompressionError, DeployError) as error:
                failed.append(row.name)
                workshop.say(f"{row.name} failed: {error.code}: {error.message}")
                continue
            found.append({**figures, "versions": versions})
            workshop.say(line(figures, time.perf_counter() - began))
            write(found, publish=False)
    return found, failed


def line(row: dict[str, Any], seconds: float) -> str:
    """Return one row for a person."""
    speed = row["speedup_p50"]
    return (
        f"{row['name']:28} {row['size_bytes']:>9,} bytes {row['size_ratio']:5.2f}x  MACs {row['macs_ratio']:.2f}x  "
        f"{row['accuracy']:.2%} retains {row['retention']:.4f}  "
        f"{'not timed' if speed is None else f'{speed:.2f}x faster'}  ({seconds:.0f} s)"
        + (f"  MISSED {row['missed']}" if row["missed"] else "")
    )


def write(rows: Sequence[dict[str, Any]], *, publish: bool) -> None:
    """Write the figures under bench/, and under docs/ beside the rows of earlier runs where they are published."""
    document = {"host": {**describe_host(), "python": platform.python_version()}, "rows": list(rows)}
    WORK.mkdir(exist_ok=True)
    (WORK / "compression.json").write_text(json.dumps(document, indent=1) + "\n")
    (WORK / "compression.md").write_text(PREFACE + "\n" + tables(rows))
    if publish:
        PUBLISHED.mkdir(parents=True, exist_ok=True)
        kept = _merged(rows)
        document = {**document, "rows": kept}
        (PUBLISHED / "results.json").write_text(json.dumps(document, indent=1) + "\n")
        (PUBLISHED / "results.md").write_text(PREFACE + "\n" + tables(kept))


def _merged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return these rows and the published ones that they do not replace, in the catalogue's order."""
    path = PUBLISHED / "results.json"
    earlier = json.loads(path.read_text())["rows"] if path.is_file() else []
    by_name = {row["name"]: row for row in (*earlier, *rows)}
    return [by_name[row.name] for row in ROWS if row.name in by_name]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scale", choices=get_args(Scale), default="quick", help="full has the quick and sweep rows too"
    )
    parser.add_argument("--rows", default="", help="only these, names separated by commas")
    parser.add_argument(
        "--threads", type=int, default=1, help="other numbers round otherwise: nothing kept is taken up"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="of the trainings")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--finished", action="store_true", help="carry nothing out: write the rows that are at hand")
    kept.add_argument(
        "--retime", action="store_true", help="the same, and measure speed and memory of their files anew"
    )
    parser.add_argument("--list", action="store_true", help="name the rows of the scale and stop")
    parser.add_argument("--publish", action="store_true", help="write docs/compression/results.* too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
