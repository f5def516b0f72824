"""Held long polls: memory, idle CPU, dispatch latency, and a thousand agents that come back at once."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from statistics import median, quantiles

from tests.benchmarks.fleet_load.agents import Agent, Operator, enrol_many, order_of
from tests.benchmarks.fleet_load.controller_process import ControllerProcess
from tests.benchmarks.fleet_load.documents import JsonObject, measured
from tests.benchmarks.fleet_load.http_client import Answer, Connection

HOLD_S = 50.0
REFUSAL_LIMIT_S = 60.0
RETRY_STATUSES = (429, 503)


async def hold(controller: ControllerProcess, agents: Sequence[Agent]) -> list[Connection]:
    """Open a connection for each agent and let the controller hold its claim; returns when it holds them all."""
    connections = [Connection(controller.port) for _ in agents]
    limit = asyncio.Semaphore(64)

    async def begin(connection: Connection, agent: Agent) -> None:
        async with limit:
            await connection.expect(agent.claim(), 204)

    pairs = list(zip(connections, agents, strict=True))
    await asyncio.gather(*(begin(*pair) for pair in pairs))
    for connection, agent in pairs:  # all at once: the first must not end before the last one has begun
        await connection.send(agent.claim(HOLD_S))
    async with asyncio.timeout(HOLD_S):
        while await controller.n_held() < len(agents):
            await asyncio.sleep(0.2)
    return connections


async def measure_held(controller: ControllerProcess, n_agents: int, idle_s: float) -> JsonObject:
    """Memory of each held poll, and the share of a core that all of them cost while nothing happens.

    ``empty_core_share`` is what the controller costs without any.
    """
    agents = await enrol_many(controller, [f"held-{i}" for i in range(n_agents)])
    await asyncio.sleep(6)  # the flush of their presence is over
    empty_share = await _core_share(controller, idle_s / 2)
    before_bytes = controller.rss_bytes()
    connections = await hold(controller, agents)
    await asyncio.sleep(6)
    held_bytes = controller.rss_bytes()
    share = await _core_share(controller, idle_s)
    n_held = await controller.n_held()
    for connection in connections:
        connection.close()
    return {
        "n_agents": n_agents,
        "bytes_per_agent": round((held_bytes - before_bytes) / n_agents),
        "idle_core_share": round(share, 5),
        "empty_core_share": round(empty_share, 5),
        "idle_s": idle_s,
        "n_held_at_end": n_held,
    }


async def _core_share(controller: ControllerProcess, during_s: float) -> float:
    started_s, before_s = time.monotonic(), await controller.cpu_s()
    await asyncio.sleep(during_s)
    return (await controller.cpu_s() - before_s) / (time.monotonic() - started_s)


async def measure_dispatch(controller: ControllerProcess, n_agents: int, n_rounds: int) -> JsonObject:
    """Milliseconds from the request that queues a run to the order at its agent, with all agents held."""
    operator = Operator(controller)
    agents = await enrol_many(controller, [f"dispatched-{i}" for i in range(n_agents)])
    artifact = await operator.upload(b"artifact of the dispatch")
    job = await operator.submit("dispatch", n_rounds, agents)
    connections = await hold(controller, agents)
    await asyncio.sleep(2)
    waiting = [asyncio.create_task(_receive_order(*pair)) for pair in zip(connections, agents, strict=True)]
    latencies_ms: list[float] = []
    report = measured(0)
    for variant in range(n_rounds):
        chosen = (variant * 7919) % n_agents
        started_s = time.perf_counter()
        await operator.dispatch(job, variant, [agents[chosen]], artifact)
        answer = await waiting[chosen]
        latencies_ms.append((time.perf_counter() - started_s) * 1000)
        order = order_of(answer)
        await connections[chosen].expect(agents[chosen].upload(order, report), 200, 201)
        await connections[chosen].expect(agents[chosen].report(order, report), 200)
        await connections[chosen].send(agents[chosen].claim(HOLD_S))
        waiting[chosen] = asyncio.create_task(_receive_order(connections[chosen], agents[chosen]))
    for task in waiting:
        task.cancel()
    for connection in connections:
        connection.close()
    return {
        "n_agents": n_agents,
        "n": n_rounds,
        "p50_ms": round(median(latencies_ms), 2),
        "p95_ms": round(quantiles(latencies_ms, n=20)[-1], 2),
        "max_ms": round(max(latencies_ms), 2),
    }


async def _receive_order(connection: Connection, agent: Agent) -> Answer:
    """The answer with an order; a claim that ends without one is sent again, as an agent does."""
    while (answer := await connection.receive()).status == 204:
        await connection.send(agent.claim(HOLD_S))
    return answer


async def measure_reconnect(controller: ControllerProcess, n_agents: int) -> JsonObject:
    """All agents hang up and come back at the same moment: seconds until each was answered, and refusals on the way."""
    agents = await enrol_many(controller, [f"returning-{i}" for i in range(n_agents)])
    for connection in await hold(controller, agents):
        connection.close()
    refused = 0
    started_s = time.monotonic()

    async def come_back(agent: Agent) -> float:
        nonlocal refused
        while True:
            connection = Connection(controller.port)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                answer = await connection.request(agent.claim())
                if answer.status not in RETRY_STATUSES:
                    assert answer.status == 204, answer
                    connection.close()
                    return time.monotonic() - started_s
            connection.close()
            refused += 1
            await asyncio.sleep(0.5)

    async with asyncio.timeout(2 * REFUSAL_LIMIT_S):
        times_s = await asyncio.gather(*(come_back(agent) for agent in agents))
    return {
        "n_agents": n_agents,
        "n_refused": refused,
        "p50_s": round(median(times_s), 3),
        "max_s": round(max(times_s), 3),
        "n_longer_than_60_s": sum(one > REFUSAL_LIMIT_S for one in times_s),
    }
