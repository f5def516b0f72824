"""How far this project's measurements may be believed, as figures: ``make bench-measurement``.

Runs, prints and writes bench/measurement.json: a plain number per figure, and intervals and parts under "details". A
figure that could not be computed is null, and ``details`` has the reason. Energy and comparisons on recorded noise need
no quiet host; overhead, achieved rate, plain loop and the live comparisons tell of the host they ran on.

    python tests/benchmarks/bench_measurement.py [--quick] [--out bench/measurement.json]
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgefleet_agent.cli.bench import hash_file
from edgefleet_agent.measure.comparison import compare_blocks
from edgefleet_agent.measure.environment import describe_host, read_conditions
from edgefleet_agent.measure.paired import BlockPlan, compare_artifacts, false_positives
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.simulate.calibration import rms_log_error
from edgefleet_agent.statistics import wilson_interval
from edgefleet_agent.wire.comparison import Outcome
from edgefleet_agent.wire.messages import MeasureSettings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.benchmarks import bench_energy, bench_plain_loop  # noqa: E402 - found only now

OUT = ROOT / "bench" / "measurement.json"
NOISE = ROOT / "tests" / "data" / "latency_noise_x86.npz"
PI4_ROWS = ROOT.parent / "shared" / "reference" / "mlperf_v1.1_pi4.csv"
"""Published latencies of the MLPerf v1.1 submissions; the file is not part of the repository."""

N_SYNTHETIC = 100
SYNTHETIC_PAIRS = 400
SLOWDOWN = 1.03
CHAIN_LAYERS = 33
"""A chain with one layer more takes 34 / 33 = 1.03 times as long."""


@dataclass(frozen=True)
class Effort:
    """How much to run. ``trials``: simulated energy measurements; the claim is about 1,000 that stand."""

    trials: int
    overhead_pairs: int
    rounds: int
    round_s: float
    live_aa: int
    live_ab: int


FULL = Effort(trials=1050, overhead_pairs=100, rounds=10, round_s=1.0, live_aa=20, live_ab=5)
QUICK = Effort(trials=60, overhead_pairs=8, rounds=2, round_s=0.5, live_aa=2, live_ab=1)

Figures = dict[str, Any]


def energy(effort: Effort, seed: int) -> Figures:
    """Coverage, width and bias of the energy figures on fake chips in virtual time."""
    figures = bench_energy.energy_figures(effort.trials, seed)
    covered = round(figures["energy_coverage"] * figures["n_trials"])
    kept = ("energy_coverage", "energy_half_width_ratio", "energy_bias_10s")
    rest = {name: value for name, value in figures.items() if name not in kept}
    interval = wilson_interval(covered, figures["n_trials"])
    return {**{name: figures[name] for name in kept}, "details": {**rest, "energy_coverage_interval": interval}}


def overhead(effort: Effort) -> Figures:
    """What sampling at 1 kHz costs the inference, and the rate it reaches, alone and beside busy neighbours."""
    figures = bench_energy.overhead_figures(effort.overhead_pairs)
    busy = bench_energy.busy_neighbour_rate(4.0)
    names = ("overhead_median_ratio", "overhead_p99_ratio")
    intervals = {name + "_interval": figures[name][1:] for name in names}
    rest = {name: value for name, value in figures.items() if name not in (*names, "achieved_rate_ratio")}
    return {
        **{name: figures[name][0] for name in names},
        "achieved_rate_ratio": figures["achieved_rate_ratio"],
        "achieved_rate_ratio_busy": busy,
        "details": {**intervals, **rest},
    }


def plain_loop(effort: Effort, folder: Path) -> Figures:
    """p50 of ``edgefleet-agent bench`` over that of a plain loop; the main figure is the one farthest from 1."""
    rows = []
    for path in bench_plain_loop.write_models(folder):
        for threads in bench_plain_loop.THREADS[: os.cpu_count() or 1]:
            rows.append(bench_plain_loop.compare(path, threads, effort.rounds, effort.round_s, folder))
            print("  " + bench_plain_loop.line(rows[-1]), flush=True)  # noqa: T201
    each = {"plain_loop_p50_ratio_{}_{}".format(row.file, row.threads): row.ratio for row in rows}
    worst = max(each.values(), key=lambda ratio: abs(ratio - 1))
    details = [{**asdict(row), "passes": row.passes} for row in rows]
    return {"plain_loop_p50_ratio": worst, **each, "details": {"plain_loop": details}}


def synthetic_comparisons() -> Figures:
    """False positives and detections of a 3 % slowdown on recorded noise."""
    with np.load(NOISE, allow_pickle=False) as file:
        blocks = np.split(file["latency_100ns"].astype(np.float64), np.cumsum(file["n"])[:-1])
        is_b = file["is_b"]
    sides = tuple([block for block, b in zip(blocks, is_b, strict=True) if b == wanted] for wanted in (False, True))
    same = [_synthetic_outcome(sides, seed, 1.0) for seed in range(N_SYNTHETIC)]
    slower = [_synthetic_outcome(sides, seed, SLOWDOWN) for seed in range(N_SYNTHETIC)]
    n_false = sum(outcome is not Outcome.NO_DIFFERENCE for outcome in same)
    n_found = sum(outcome is Outcome.SLOWER for outcome in slower)
    return {
        "aa_false_positives_per_100": n_false * 100 / N_SYNTHETIC,
        "ab_detection_rate_3pct": n_found / N_SYNTHETIC,
        "details": {
            "aa_interval_per_100": [100 * bound for bound in wilson_interval(n_false, N_SYNTHETIC) or ()],
            "ab_interval": wilson_interval(n_found, N_SYNTHETIC),
            "comparisons_on": "synthetic series with recorded noise",
        },
    }


def _synthetic_outcome(sides: Sequence[list[Any]], seed: int, slowdown: float) -> Outcome:
    rng = np.random.default_rng([seed, round(1000 * slowdown)])
    first = 2 * int(rng.integers(0, len(sides[0]) // 2))
    stretch = [(first + i) % len(sides[0]) for i in range(SYNTHETIC_PAIRS)]
    a, b = ([side[i] for i in stretch] for side in (sides if rng.random() < 0.5 else sides[::-1]))
    return compare_blocks(a, [slowdown * block for block in b], seed=seed).outcome


def live_comparisons(effort: Effort, folder: Path) -> Figures:
    """The same with real runners on this host: a chain of layers against itself, and against one with 3 % more layers."""
    plan = BlockPlan()
    base, longer = (_subject(write_chain(folder, n)) for n in (CHAIN_LAYERS, CHAIN_LAYERS + 1))
    same = [compare_artifacts(base, base, plan, Bench()) for _ in range(effort.live_aa)]
    different = [compare_artifacts(base, longer, plan, Bench()) for _ in range(effort.live_ab)]
    rate = false_positives([(report.ratio, report.outcome) for report in same])
    n_found = sum(report.outcome is Outcome.SLOWER for report in different)
    return {
        "aa_live_false_positive_share": rate.share,
        "ab_live_detection_rate_3pct": n_found / len(different),
        "details": {
            "aa_live": rate.model_dump(),
            "ab_live": [
                {"ratio": report.ratio, "interval": report.interval, "outcome": report.outcome.value}
                for report in different
            ],
            "ab_live_verdicts": [[reason.value for reason in report.verdict.reasons] for report in (*same, *different)],
        },
    }


def write_chain(folder: Path, n_layers: int) -> Path:
    """A chain of equal convolutions."""
    weight = numpy_helper.from_array((np.random.RandomState(0).randn(16, 16, 3, 3) * 0.05).astype(np.float32), "w")
    nodes, name = [], "x"
    for number in range(n_layers):
        nodes.append(helper.make_node("Conv", [name, "w"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        name = f"r{number}"
    value = [helper.make_tensor_value_info(text, TensorProto.FLOAT, [1, 16, 32, 32]) for text in ("x", name)]
    graph = helper.make_graph(nodes, "chain", value[:1], value[1:], [weight])
    path = folder / f"chain{n_layers}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


def _subject(path: Path) -> Subject:
    return Subject(path=path, artifact=hash_file(path), runtime="onnxruntime", settings=MeasureSettings())


def simulated_board() -> Figures:
    """Error of the simulated Raspberry Pi 4 against published latencies; null where their file is absent."""
    if not PI4_ROWS.is_file():
        reason = "the published rows ({}) are not part of the repository".format(PI4_ROWS.name)
        return {"pi4_rms_fp32": None, "pi4_rms_uint8": None, "details": {"pi4_rms_reason": reason}}
    return {
        **{"pi4_rms_" + precision: rms_log_error(PI4_ROWS, precision) for precision in ("fp32", "uint8")},
        "details": {"pi4_rms_of": "natural logarithm of simulated / published p50"},
    }


def run(effort: Effort, seed: int) -> Figures:
    """All figures."""
    figures: Figures = {}
    details: Figures = {"host": host(), "effort": asdict(effort)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: list[Callable[[], Figures]] = [
            lambda: energy(effort, seed),
            lambda: overhead(effort),
            lambda: plain_loop(effort, folder),
            synthetic_comparisons,
            lambda: live_comparisons(effort, folder),
            simulated_board,
        ]
        for part in parts:
            found = part()
            details.update(found.pop("details"))
            for key, value in found.items():
                print("{:34} {}".format(key, value), flush=True)  # noqa: T201
            figures.update(found)
    return {**figures, "details": details}


def host() -> Figures:
    """What the figures depend on."""
    load = read_conditions().load_average_1m
    return {**describe_host(), "load_average_1m_at_start": load, "python": platform.python_version()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes less, for a look")
    parser.add_argument("--trials", type=int, help="simulated energy measurements")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    if options.trials is not None:
        effort = Effort(**{**asdict(effort), "trials": options.trials})
    figures = run(effort, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
