"""A sweep of many runs drained by simulated agents: does its cost grow in proportion to its length?"""

import asyncio
import math
import time
from collections.abc import Sequence

from tests.benchmarks.fleet_load.agents import Agent, Operator, enrol, order_of
from tests.benchmarks.fleet_load.controller_process import ControllerProcess
from tests.benchmarks.fleet_load.documents import JsonObject, Measured, measured
from tests.benchmarks.fleet_load.http_client import Connection

N_CONNECTIONS = 32
MAX_LOOKS = 100
LOOK_EACH_S = 0.2


async def measure_drain(controller: ControllerProcess, sizes: Sequence[int], n_agents: int) -> JsonObject:
    """CPU seconds of the controller for sweeps of these sizes, and the exponent of cost over size."""
    agents = await enrol(controller, [f"drain-{i}" for i in range(n_agents)])
    reports = [measured(seed) for seed in range(50)]
    rows = [await _drain(controller, agents, reports, n_runs) for n_runs in sizes]
    return {
        "rows": rows,
        "exponent": round(fit_exponent([(row["n_runs"], row["cpu_s"]) for row in rows]), 3),
    }


def fit_exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of log cost over log size by least squares; 1 is linear."""
    x, y = [math.log(size) for size, _ in points], [math.log(cost) for _, cost in points]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) * (a - mean_x) for a in x)


async def _drain(
    controller: ControllerProcess, agents: Sequence[Agent], reports: Sequence[Measured], n_runs: int
) -> JsonObject:
    operator = Operator(controller)
    artifact = await operator.upload(b"artifact of the sweep")
    n_variants = n_runs // len(agents)
    job = await operator.submit(f"sweep-{n_runs}", n_variants, agents)
    before_s, started_s = await controller.cpu_s(), time.monotonic()
    for variant in range(n_variants):
        await operator.dispatch(job, variant, agents, artifact)
    queued_s = await controller.cpu_s() - before_s
    groups = [agents[start::N_CONNECTIONS] for start in range(N_CONNECTIONS)]
    counts = await asyncio.gather(*(_work(controller, group, reports, n_variants) for group in groups))
    operator = Operator(controller)  # the earlier connection was idle for too long, and the controller hung up
    await _wait_for_end(operator, job)
    cpu_s = await controller.cpu_s() - before_s
    runs = await _count_completed(operator, job)
    return {
        "n_runs": n_runs,
        "n_reported": sum(counts),
        "n_completed": runs,
        "queue_cpu_s": round(queued_s, 3),
        "cpu_s": round(cpu_s, 3),
        "wall_s": round(time.monotonic() - started_s, 1),
    }


async def _work(
    controller: ControllerProcess, agents: Sequence[Agent], reports: Sequence[Measured], n_each: int
) -> int:
    """Let some agents in turn carry out their runs over one connection; returns how many."""
    connection, n_done = Connection(controller.port), 0
    for round_of_runs in range(n_each):
        for agent in agents:
            order = order_of(await connection.expect(agent.claim(), 200))
            await connection.expect(agent.heartbeat(order), 200)
            made = reports[(n_done + round_of_runs) % len(reports)]
            await connection.expect(agent.upload(order, made), 200, 201)
            await connection.expect(agent.report(order, made), 200)
            n_done += 1
    connection.close()
    return n_done


async def _wait_for_end(operator: Operator, job: JsonObject) -> None:
    """Variants and jobs end a moment after their last run: what follows from runs is written for many at once."""
    for _ in range(MAX_LOOKS):
        shown = await operator.send("GET", f"/v1/jobs/{job['id']}")
        if shown["state"] == "completed":
            return
        await asyncio.sleep(LOOK_EACH_S)
    raise TimeoutError(f"the sweep is {shown['state']} {MAX_LOOKS * LOOK_EACH_S:g} s after its last report")


async def _count_completed(operator: Operator, job: JsonObject) -> int:
    shown = await operator.send("GET", f"/v1/jobs/{job['id']}")
    done = sum(variant["state"] == "completed" for variant in shown["variants"])
    n_completed, cursor = 0, None
    while True:
        query = f"/v1/runs?job={job['id']}&limit=200" + (f"&cursor={cursor}" if cursor else "")
        page = await operator.send("GET", query)
        n_completed += [run["state"] for run in page["items"]].count("completed")
        cursor = page["next_cursor"]
        if cursor is None:
            assert done == len(shown["variants"]), f"{done} variants completed"
            return n_completed
