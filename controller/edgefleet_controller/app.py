"""Puts the controller's API together."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi

from edgefleet_controller import health
from edgefleet_controller.analyses import endpoints as analyses
from edgefleet_controller.analyses.analyst import make_analyst
from edgefleet_controller.artifacts import endpoints as artifacts
from edgefleet_controller.audit import endpoints as audit
from edgefleet_controller.auth.guard import authorize
from edgefleet_controller.auth.rate_limits import RateLimits
from edgefleet_controller.auth.tokens import TokenSource, load_operator_token, random_token
from edgefleet_controller.blobs import endpoints as blobs
from edgefleet_controller.blobs.opening import open_blob_store
from edgefleet_controller.clock import Clock, SystemClock
from edgefleet_controller.comparisons import endpoints as comparisons
from edgefleet_controller.db.database import Database
from edgefleet_controller.devices import agent_endpoints as agent_devices
from edgefleet_controller.devices import endpoints as devices
from edgefleet_controller.devices.presence import Presence
from edgefleet_controller.engine.in_memory import InMemoryEngine
from edgefleet_controller.engine.protocol import Engine
from edgefleet_controller.imports import endpoints as imports
from edgefleet_controller.jobs import endpoints as jobs
from edgefleet_controller.limits import BodyLimit
from edgefleet_controller.listening import SafeEdge
from edgefleet_controller.models import endpoints as models
from edgefleet_controller.models.inspection import ChildInspector, Inspector
from edgefleet_controller.observability import endpoints as observability
from edgefleet_controller.observability.requests import ObservedRequests
from edgefleet_controller.people import endpoints as people
from edgefleet_controller.problems import MEDIA_TYPE, Problem, install_problem_handlers
from edgefleet_controller.regressions import endpoints as regressions
from edgefleet_controller.results import endpoints as results
from edgefleet_controller.rollouts import endpoints as rollouts
from edgefleet_controller.runs import agent_endpoints as agent_runs
from edgefleet_controller.runs import endpoints as runs
from edgefleet_controller.runs.desk import Desk
from edgefleet_controller.runs.news import listen_for_news
from edgefleet_controller.runs.rules import lease_rules
from edgefleet_controller.services import Services
from edgefleet_controller.settings import Settings
from edgefleet_controller.signing import endpoints as signing
from edgefleet_controller.signing.key_ring import KeyRing
from edgefleet_controller.studies import endpoints as studies
from edgefleet_controller.sweeper import Sweeper, make_listener
from edgefleet_controller.wakeups import Wakeups
from edgefleet_controller.web import install_pages
from edgefleet_controller.workers import endpoints as workers

ROUTERS: Sequence[APIRouter] = (
    agent_runs.router,
    blobs.agent_router,
    agent_devices.router,
    health.router,
    observability.router,
    people.router,
    audit.router,
    signing.router,
    signing.agent_router,
    devices.router,
    models.router,
    analyses.router,
    jobs.router,
    workers.router,
    rollouts.router,
    rollouts.agent_router,
    runs.router,
    results.router,
    imports.router,
    regressions.router,
    comparisons.router,
    studies.router,
    blobs.router,
    artifacts.router,
)
"""Looked through in this order for each request: what boards ask for all day comes first."""

DESCRIPTION = """Compress, compile and measure neural networks on a fleet of small boards.

Times are RFC 3339 UTC; a quantity's name ends in its unit (`latency_ms`, `energy_mj`, `size_bytes`). Errors are
`application/problem+json` with a stable `code`, whose `fault` it is, and whether to `retry`.
"""
KEEP_UNFINISHED = timedelta(days=1)
"""Age at which a half-received file is taken for what a killed process left."""

_PROBLEM = {
    "description": "problem",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(
    settings: Settings,
    *,
    engine: Engine | None = None,
    clock: Clock | None = None,
    tokens: TokenSource = random_token,
    inspector: Inspector | None = None,
) -> FastAPI:
    """The API over a store that has been migrated; without an engine, jobs are stored and never run."""
    services = _make_services(settings, engine or InMemoryEngine(), clock or SystemClock(), tokens, inspector)
    app = FastAPI(
        title="edgefleet",
        version="1",
        description=DESCRIPTION,
        dependencies=[Depends(authorize)],
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    install_problem_handlers(app)
    install_pages(app)
    app.add_middleware(
        BodyLimit,
        default_bytes=settings.max_json_bytes,
        bytes_by_prefix={
            "/v1/blobs/": None,
            "/agent/v1/blobs/": None,
            "/agent/v1/report": settings.max_report_bytes,
        },
    )
    app.add_middleware(ObservedRequests, logs_access=settings.log_access)
    app.add_middleware(SafeEdge, proxies=settings.proxies)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _make_services(
    settings: Settings, engine: Engine, clock: Clock, tokens: TokenSource, inspector: Inspector | None
) -> Services:
    database, blobs = Database.from_url(settings.resolved_database_url, clock), open_blob_store(settings)
    wakeups = Wakeups()
    services = Services(
        settings=settings,
        database=database,
        blobs=blobs,
        engine=engine,
        clock=clock,
        tokens=tokens,
        presence=Presence(),
        wakeups=wakeups,
        desk=Desk(settings, database, blobs, wakeups, lease_rules(settings)),
        inspector=inspector or ChildInspector.from_settings(settings),
        operator_token=load_operator_token(settings.operator_token_file, tokens),
        rate_limits=RateLimits.from_settings(settings, database),
        signing_keys=KeyRing(settings.resolved_signing_key_file, clock.now),
    )
    services.database.subscribe(make_listener(services))
    return services


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    services.blobs.remove_unfinished(services.clock.now() - KEEP_UNFINISHED)
    await run_in_threadpool(services.desk.load)
    sweeper = Sweeper(services, services.desk.rules)
    listening = listen_for_news(services)
    working = [asyncio.create_task(sweeper.run())]
    if services.settings.run_analyses:
        working.append(asyncio.create_task(make_analyst(services, services.settings).run()))
    try:
        yield
    finally:
        services.wakeups.close()
        for task in working:
            task.cancel()
        for task in working:
            with suppress(asyncio.CancelledError):
                await task
        listening.stop()
        sweeper.flush_presence()
        services.desk.heartbeats.flush()
        services.desk.aftermath.write()
        services.database.dispose()


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
        )
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        schema["components"]["securitySchemes"] = {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "eot_... of the operator, edt_... of a device",
            }
        }
        schema["security"] = [{"bearer": []}]
        app.openapi_schema = schema
    return app.openapi_schema
