"""The controller's own app with four routes that only the bench has; run as a process: ``python bench_app.py DIR``.

``GET /bench/hello`` is the yardstick: a FastAPI endpoint without dependencies, behind the app's own middleware.
``GET /bench/cpu`` tells the CPU time of this process and how many requests it holds. ``POST /bench/devices`` enrols many devices in one transaction and
``POST /bench/runs`` queues runs, both through the product's own functions.
"""

import argparse
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy.orm import Session

from edgefleet_agent.wire.messages import EnrolRequest
from edgefleet_controller.app import create_app
from edgefleet_controller.db.migrate import upgrade_to_head
from edgefleet_controller.db.tables import Artifact, Job, Variant
from edgefleet_controller.devices import enrolment
from edgefleet_controller.devices import service as devices
from edgefleet_controller.devices.schemas import JoinTokenCreate
from edgefleet_controller.engine.dbos_engine import DbosEngine, prepare_engine_database
from edgefleet_controller.listening import server_options
from edgefleet_controller.runs.service import enqueue_run
from edgefleet_controller.services import Services
from edgefleet_controller.settings import Settings

JsonObject = dict[str, Any]


class AnyModel:
    """Takes every file for an ONNX model; inspecting is not what is measured here."""

    def inspect(self, path: Path) -> JsonObject:
        """The facts of a model without inputs."""
        return {"format": "onnx", "inputs": [], "outputs": [], "n_parameters": 1}


class Devices(BaseModel):
    """So many devices with these facts."""

    names: list[str]
    facts: JsonObject
    facts_sha256: str


class Runs(BaseModel):
    """One run of the variant for each device."""

    job_id: str
    variant_id: str
    device_ids: list[str]
    artifact: JsonObject


def enrol_device(
    session: Session, services: Services, name: str, facts: JsonObject, facts_sha256: str
) -> dict[str, str]:
    """Mint a join token and use it, as a simulated board would; returns device_id and credential."""
    token = devices.mint_join_token(session, JoinTokenCreate(), services.tokens, 3600.0)
    request = EnrolRequest.model_validate(
        {"join_token": token.join_token, "name": name, "device_kind": "simulated", "facts": facts}
    )
    done = enrolment.enrol(session, request, services.tokens, key_is_required=False)
    done.device.facts_sha256 = facts_sha256
    session.flush()
    return {"device_id": done.device.id, "credential": done.credential}


def queue_runs(services: Services, wanted: Runs) -> list[str]:
    """What the workflow does once a variant was compiled; returns the runs' identifiers."""
    order = {"runtime": "onnxruntime", "artifact_name": "model.onnx", "artifact": wanted.artifact}
    with services.database.writing() as session:
        key = f"{wanted.variant_id:0<64}"[:64]
        session.merge(
            Artifact(
                key_sha256=key,
                key={},
                sha256=wanted.artifact["sha256"],
                size_bytes=wanted.artifact["size_bytes"],
                target="onnxruntime",
                manifest={},
                accuracy_host={},
                created_at=services.clock.now(),
            )
        )
        session.flush()
        session.get_one(Job, wanted.job_id).state = "running"
        variant = session.get_one(Variant, wanted.variant_id)
        variant.state, variant.artifact_key = "dispatched", key
        session.flush()
        return [enqueue_run(session, wanted.job_id, wanted.variant_id, one, order).id for one in wanted.device_ids]


def make_app(settings: Settings, engine: DbosEngine) -> FastAPI:
    """The product's app and the bench's routes."""
    app = create_app(settings, engine=engine, inspector=AnyModel())
    services: Services = app.state.services

    async def hello() -> JsonObject:
        return {"hello": "world"}

    async def cpu() -> JsonObject:
        return {"process_s": time.process_time(), "n_held": services.wakeups.n_waiting}

    def add_devices(body: Devices) -> list[JsonObject]:
        with services.database.writing() as session:
            return [enrol_device(session, services, name, body.facts, body.facts_sha256) for name in body.names]

    def add_runs(body: Runs) -> list[str]:
        return queue_runs(services, body)

    for method, path, endpoint in (
        ("GET", "/bench/hello", hello),
        ("GET", "/bench/cpu", cpu),
        ("POST", "/bench/devices", add_devices),
        ("POST", "/bench/runs", add_runs),
    ):
        # in front: where it is found at once, hello costs what a hello-world costs
        app.router.routes.insert(0, APIRoute(path, endpoint, methods=[method], response_model=None))
    return app


def main() -> None:
    """Serve until SIGTERM, as ``edgefleet serve`` does; writes its address into DIR/bench.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    # one operator and a few agents do here what thousands do elsewhere, so the limits by credential are lifted
    settings = Settings(data_dir=folder, max_json_bytes=64 << 20, requests_per_s=1e6, requests_burst=1e6)
    upgrade_to_head(settings.resolved_database_url)
    prepare_engine_database(settings.resolved_engine_url)
    engine = DbosEngine(settings.resolved_engine_url)
    app = make_app(settings, engine)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        options = {"access_log": False, "timeout_keep_alive": 75, **server_options(settings)}
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", **options))
        facts = {"port": listener.getsockname()[1], "pid": os.getpid()}
        partial = folder / "bench.partial"
        partial.write_text(json.dumps(facts))
        partial.replace(folder / "bench.json")
        server.run(sockets=[listener])
    engine.close()


if __name__ == "__main__":
    main()
