"""Simulated agents that speak the real protocol over loopback, and the operator beside them."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.benchmarks.fleet_load.controller_process import ControllerProcess
from tests.benchmarks.fleet_load.documents import FACTS, FACTS_SHA256, JsonObject, Measured, encode_json
from tests.benchmarks.fleet_load.http_client import Answer, Connection, encode_request

Item = TypeVar("Item")
Found = TypeVar("Found")
N_CONNECTIONS = 16


@dataclass(frozen=True)
class Agent:
    """An enrolled device; the methods give the bytes of its requests."""

    device_id: str
    credential: str

    def claim(self, wait_s: float = 0.0, facts: JsonObject | None = None) -> bytes:
        """Ask for work."""
        body = {"wait_s": wait_s, "facts_sha256": FACTS_SHA256, **({"facts": facts} if facts else {})}
        return encode_request("POST", "/agent/v1/claim", self.credential, encode_json(body))

    def heartbeat(self, order: JsonObject) -> bytes:
        """Extend the lease."""
        body = {"run_id": order["run_id"], "attempt": order["attempt"], "phase": "measure", "silent_for_s": 10}
        return encode_request("POST", "/agent/v1/heartbeat", self.credential, encode_json(body))

    def upload(self, order: JsonObject, made: Measured) -> bytes:
        """Send the raw samples."""
        stated = {"x_run_id": str(order["run_id"]), "x_attempt": str(order["attempt"])}
        kind = {"content_type": "application/octet-stream"}
        path = f"/agent/v1/blobs/{made.sha256}"
        return encode_request("PUT", path, self.credential, made.blob, **kind, **stated)

    def report(self, order: JsonObject, made: Measured) -> bytes:
        """Hand in the report."""
        body = {"run_id": order["run_id"], "attempt": order["attempt"], "report": made.report_on(order["artifact"])}
        return encode_request("POST", "/agent/v1/report", self.credential, encode_json(body))

    def download(self, sha256: str) -> bytes:
        """Fetch a file of the run."""
        return encode_request("GET", f"/agent/v1/blobs/{sha256}", self.credential)


async def enrol(controller: ControllerProcess, names: Sequence[str]) -> list[Agent]:
    """Enrol by the protocol: a join token each, the exchange, and the facts with the first claim."""

    async def one(connection: Connection, name: str) -> Agent:
        token = await connection.expect(
            encode_request("POST", "/v1/join-tokens", controller.operator_token, b"{}"), 200, 201
        )
        body = {"join_token": token.json()["join_token"], "name": name, "device_kind": "simulated", "facts": FACTS}
        answer = await connection.expect(encode_request("POST", "/agent/v1/enrol", body=encode_json(body)), 200)
        agent = Agent(answer.json()["device_id"], answer.json()["credential"])
        await connection.expect(agent.claim(facts=FACTS), 204)
        return agent

    return await spread(controller.port, names, one)


async def enrol_many(controller: ControllerProcess, names: Sequence[str]) -> list[Agent]:
    """Enrol in one transaction, by the bench's own route."""
    connection = Connection(controller.port)
    body = {"names": list(names), "facts": FACTS, "facts_sha256": FACTS_SHA256}
    answer = await connection.expect(encode_request("POST", "/bench/devices", body=encode_json(body)), 200)
    connection.close()
    return [Agent(**one) for one in answer.json()]


async def spread(
    port: int,
    items: Sequence[Item],
    work: Callable[[Connection, Item], Coroutine[Any, Any, Found]],
    n_connections: int = N_CONNECTIONS,
) -> list[Found]:
    """Do the work for every item over some kept-alive connections; results in the order of the items."""
    found: dict[int, Found] = {}
    waiting = iter(enumerate(items))

    async def serve_some() -> None:
        connection = Connection(port)
        for index, item in waiting:
            found[index] = await work(connection, item)
        connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(n_connections):
            tasks.create_task(serve_some())
    return [found[index] for index in range(len(items))]


class Operator:
    """Uploads files, submits jobs, queues their runs."""

    def __init__(self, controller: ControllerProcess) -> None:
        self._controller = controller
        self._connection = Connection(controller.port)

    async def send(self, method: str, path: str, document: object = None, *statuses: int) -> Any:
        """One JSON request."""
        body = encode_json(document) if document is not None else b""
        request = encode_request(method, path, self._controller.operator_token, body)
        return (await self._connection.expect(request, *(statuses or (200, 201, 202)))).json()

    async def upload(self, content: bytes) -> JsonObject:
        """Store a file; returns its reference."""
        sha256 = hashlib.sha256(content).hexdigest()
        kind = {"content_type": "application/octet-stream"}
        request = encode_request("PUT", f"/v1/blobs/{sha256}", self._controller.operator_token, content, **kind)
        await self._connection.expect(request, 200, 201)
        return {"sha256": sha256, "size_bytes": len(content)}

    async def submit(self, name: str, n_variants: int, agents: Sequence[Agent]) -> JsonObject:
        """A job with so many variants (an even number beyond 64) for these devices."""
        sha256 = (await self.upload(b"model " + name.encode()))["sha256"]
        model = await self.send("POST", "/v1/models", {"name": name, "blob_sha256": sha256})
        targets = ["onnxruntime"] if n_variants <= 64 else ["onnxruntime", "onnxruntime-current"]
        recipes = [{"name": f"{name}-{i}", "passes": [], "seed": i} for i in range(n_variants // len(targets))]
        wanted = [agent.device_id for agent in agents]
        document = {"model": model["id"], "recipes": recipes, "targets": targets, "devices": wanted}
        job: JsonObject = await self.send("POST", "/v1/jobs", document)
        return job

    async def dispatch(self, job: JsonObject, variant: int, agents: Sequence[Agent], artifact: JsonObject) -> None:
        """Queue the variant's runs, in the controller's own process."""
        body = {
            "job_id": job["id"],
            "variant_id": job["variants"][variant]["id"],
            "device_ids": [agent.device_id for agent in agents],
            "artifact": artifact,
        }
        await self._connection.expect(encode_request("POST", "/bench/runs", body=encode_json(body)), 200)


def order_of(answer: Answer) -> JsonObject:
    """The order in the answer to a claim."""
    order: JsonObject = answer.json()["order"]
    return order
