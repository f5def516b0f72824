"""CPU per request of the hot routes, as ratios to a hello endpoint of the same app in the same round."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.fleet_load.agents import Agent, Operator, enrol_many, order_of, spread
from tests.benchmarks.fleet_load.controller_process import ControllerProcess
from tests.benchmarks.fleet_load.documents import JsonObject, Measured, measured
from tests.benchmarks.fleet_load.http_client import Answer, Connection, encode_request

HELLO = encode_request("GET", "/bench/hello")
ARTIFACT_BYTES = 100 << 20


@dataclass(frozen=True)
class Extent:
    """How much is measured: agents per round, rounds, requests of the cheap kinds per round, downloads."""

    n_agents: int
    n_rounds: int
    n_cheap: int
    n_downloads: int


class CpuMeter:
    """CPU of the controller per request, in microseconds."""

    def __init__(self, controller: ControllerProcess) -> None:
        self._controller = controller

    async def per_request_us(self, requests: Sequence[bytes], *statuses: int) -> tuple[float, list[Answer]]:
        """Send them all over kept-alive connections; CPU us per request and the answers in order."""

        async def send(connection: Connection, request: bytes) -> Answer:
            return await connection.expect(request, *statuses)

        before_s = await self._controller.cpu_s()
        answers = await spread(self._controller.port, requests, send)
        used_s = await self._controller.cpu_s() - before_s
        return used_s / len(requests) * 1e6, answers


async def measure_ratios(controller: ControllerProcess, extent: Extent) -> JsonObject:
    """Medians over the rounds: microseconds per request and ratios to hello, by operation."""
    operator, meter = Operator(controller), CpuMeter(controller)
    agents = await enrol_many(controller, [f"ratio-{i}" for i in range(extent.n_agents)])
    reports = [measured(seed) for seed in range(min(extent.n_agents, 100))]
    artifact = await operator.upload(b"artifact of the ratios")
    job = await operator.submit("ratios", extent.n_rounds + 1, agents)
    rounds = [
        await _one_round(meter, operator, agents, reports, extent, (job, variant, artifact))
        for variant in range(extent.n_rounds + 1)
    ]
    del rounds[0]  # the first one pays for compiled statements and connections
    figures: JsonObject = {}
    for name in rounds[0]:
        figures[name] = {
            "cpu_us": round(median(one[name] for one in rounds), 1),
            "ratio": round(median(one[name] / one["hello"] for one in rounds), 2),
            "rounds": [round(one[name] / one["hello"], 2) for one in rounds],
        }
    return figures


async def _one_round(
    meter: CpuMeter,
    operator: Operator,
    agents: Sequence[Agent],
    reports: Sequence[Measured],
    extent: Extent,
    work: tuple[JsonObject, int, JsonObject],
) -> dict[str, float]:
    found: dict[str, float] = {}
    repeats = -(-extent.n_cheap // len(agents))
    before, _ = await meter.per_request_us([HELLO] * extent.n_cheap, 200)
    found["idle_claim"], _ = await meter.per_request_us([agent.claim() for agent in agents] * repeats, 204)
    job, variant, artifact = work
    await operator.dispatch(job, variant, agents, artifact)
    found["leasing_claim"], answers = await meter.per_request_us([agent.claim() for agent in agents], 200)
    held = [(agent, order_of(answer)) for agent, answer in zip(agents, answers, strict=True)]
    beats = [agent.heartbeat(order) for agent, order in held] * repeats
    found["heartbeat"], _ = await meter.per_request_us(beats, 200)
    middle, _ = await meter.per_request_us([HELLO] * extent.n_cheap, 200)
    made = [reports[index % len(reports)] for index in range(len(held))]
    uploads = [agent.upload(order, one) for (agent, order), one in zip(held, made, strict=True)]
    found["sample_upload"], _ = await meter.per_request_us(uploads, 200, 201)
    documents = [agent.report(order, one) for (agent, order), one in zip(held, made, strict=True)]
    found["report"], _ = await meter.per_request_us(documents, 200)
    after, _ = await meter.per_request_us([HELLO] * extent.n_cheap, 200)
    return {"hello": median((before, middle, after)), **found}


async def measure_artifact(controller: ControllerProcess, extent: Extent) -> JsonObject:
    """CPU milliseconds to send 100 MiB to the agent that holds a run with that artifact."""
    operator, meter = Operator(controller), CpuMeter(controller)
    (agent,) = await enrol_many(controller, ["downloader"])
    artifact = await operator.upload(bytes(1 << 20) * (ARTIFACT_BYTES >> 20))
    job = await operator.submit("download", 1, [agent])
    await operator.dispatch(job, 0, [agent], artifact)
    connection = Connection(controller.port)
    await connection.expect(agent.claim(), 200)
    request = agent.download(str(artifact["sha256"]))
    per_download_ms = []
    for _ in range(extent.n_downloads):
        cpu_us, (answer,) = await meter.per_request_us([request], 200)
        assert len(answer.body) == ARTIFACT_BYTES
        per_download_ms.append(cpu_us / 1000)
    return {"median_ms": round(median(per_download_ms), 1), "all_ms": [round(one, 1) for one in per_download_ms]}
