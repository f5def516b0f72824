"""Energy figures of ``make bench-measurement``: coverage of the stated intervals, bias, overhead, achieved rate.

    python tests/benchmarks/bench_energy.py --trials 1000 --out bench/energy.json

Coverage and bias are computed with virtual time. Overhead and rate run the real sampling process against a fake bus
that waits 0.25 ms per transfer, beside a busy loop in this process.
"""

import argparse
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgefleet_agent.measure.energy_overhead import block_order, compare_overhead
from edgefleet_agent.measure.energy_trials import Trial, bias_10s, run_trial, summarize_trials
from edgefleet_agent.sampler import SamplerProcess, SamplerSettings, choose_core
from edgefleet_agent.sensors.fake.factory import fake_options
from edgefleet_agent.sensors.fake.waveforms import Square
from edgefleet_agent.sensors.ranging import measuring_spec
from edgefleet_agent.sensors.shunt import ShuntCalibration
from edgefleet_agent.sensors.spec import SensorSpec

TRANSFER_NS = 250_000
PERIOD_S = 0.001
BLOCK_S = 0.25
RATE_S = 4.0
WORK_SIZE = 96


def energy_figures(n_trials: int, seed: int) -> dict[str, Any]:
    """Return coverage, half-width ratio and bias."""
    trials: list[Trial] = []
    rejected: Counter[str] = Counter()
    for number in range(n_trials):
        trial = run_trial(np.random.default_rng([seed, number]))
        if trial.summary.value_mj is None:
            rejected[str(trial.summary.reason.value if trial.summary.reason else "")] += 1
        else:
            trials.append(trial)
    return {
        **summarize_trials(trials),
        "n_rejected": dict(rejected),
        **bias_10s(60, np.random.default_rng([seed, 10**6])),
    }


def waiting_spec() -> SensorSpec:
    """Return an INA226 read without asking for its flag: two transfers of 0.25 ms a sample."""
    fake = fake_options(Square(3.0, 6.0, 0.025), epoch_ns=time.monotonic_ns(), transfer_ns=TRANSFER_NS)
    spec = SensorSpec("ina226", shunt=ShuntCalibration(0.01), readiness="timed", fake=fake)
    return measuring_spec(spec, PERIOD_S, [])


def timed_block(seconds: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the latencies of a matrix product repeated for some seconds."""
    matrix = np.random.default_rng(0).random((WORK_SIZE, WORK_SIZE))
    latencies = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter_ns()
        for _ in range(8):
            matrix @ matrix
        latencies.append(float(time.perf_counter_ns() - started))
    return np.array(latencies)


def overhead_figures(n_pairs: int) -> dict[str, Any]:
    """Return the overhead of 1 kHz sampling from interleaved blocks of one process, and the rate it achieves.

    The sampler is halted by SIGSTOP in the unmetered blocks, so that starting it does not fall into the comparison.
    The work keeps off the sampler's core, as a runner does.
    """
    cores = frozenset(os.sched_getaffinity(0))
    core = choose_core(cores, 1)
    blocks: dict[bool, list[Any]] = {True: [], False: []}
    if core is not None:
        os.sched_setaffinity(0, cores - {core})
    settings = SamplerSettings(period_s=PERIOD_S, longest_s=1200.0, core=core)
    try:
        with SamplerProcess(waiting_spec(), settings) as sampler:
            timed_block(BLOCK_S)
            for is_metered in block_order(n_pairs):
                os.kill(sampler.pid, signal.SIGCONT if is_metered else signal.SIGSTOP)
                blocks[is_metered].append(timed_block(BLOCK_S))
            os.kill(sampler.pid, signal.SIGCONT)
        rate = achieved_rate(settings)
    finally:
        os.sched_setaffinity(0, cores)
    overhead = compare_overhead(blocks[True], blocks[False])
    return {**overhead.to_json(), **rate, "n_block_pairs": n_pairs, "reserved_core": core}


def achieved_rate(settings: SamplerSettings) -> dict[str, float]:
    """Return the rate, longest gap and CPU share of a sampler beside a busy loop."""
    with SamplerProcess(waiting_spec(), settings) as sampler:
        timed_block(RATE_S)
        recording = sampler.stop()
        return {
            "achieved_rate_ratio": recording.achieved_ratio,
            "longest_gap_ms": float(np.diff(recording.t_ns).max()) * 1e-6,
            "sampler_cpu_share": (sampler.cpu_s or 0.0) / RATE_S,
        }


def busy_neighbour_rate(seconds: float) -> float:
    """Return reads made / asked for while every core of the host is kept busy."""
    context = multiprocessing.get_context("spawn")
    cores = multiprocessing.cpu_count()
    neighbours = [context.Process(target=timed_block, args=(seconds + 3,)) for _ in range(cores)]
    for neighbour in neighbours:
        neighbour.start()
    try:
        with SamplerProcess(waiting_spec(), SamplerSettings(period_s=PERIOD_S, longest_s=60.0)) as sampler:
            time.sleep(seconds)
            return sampler.stop().achieved_ratio
    finally:
        for neighbour in neighbours:
            neighbour.terminate()
            neighbour.join()


def main() -> None:
    """Run and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--out", type=Path, default=Path("bench/energy.json"))
    options = parser.parse_args()
    figures = {
        **energy_figures(options.trials, options.seed),
        **overhead_figures(options.pairs),
        "achieved_rate_ratio_busy": busy_neighbour_rate(4.0),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print("{:32} {}".format(name, value))  # noqa: T201


if __name__ == "__main__":
    main()
