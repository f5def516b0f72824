"""Adds the pages to the app."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import WebSocketRequestValidationError

from edgefleet_controller.errors import ControllerError
from edgefleet_controller.services import Services
from edgefleet_controller.web import (
    administration,
    assets,
    comparisons,
    devices,
    entrance,
    fleet,
    front,
    jobs,
    models,
    new_job,
    results,
    runs,
    studies,
)
from edgefleet_controller.web.live import make_page_listener
from edgefleet_controller.web.rendering import error_page, wants_page

ROUTERS: Sequence[APIRouter] = (
    assets.router,
    entrance.router,
    fleet.router,
    devices.router,
    new_job.router,  # before the page of one job, whose address it would be
    jobs.router,
    studies.router,
    models.router,
    runs.router,
    results.router,
    comparisons.router,
    front.router,
    administration.router,
)
Handler = Callable[[Request, Exception], Any]


def install_pages(app: FastAPI) -> None:
    """Add the pages; whatever goes wrong on one of them is said on a page too."""
    services: Services = app.state.services
    services.database.subscribe(make_page_listener(services.wakeups))
    for router in ROUTERS:
        app.include_router(router)
    for kind, handler in list(app.exception_handlers.items()):
        if kind is not WebSocketRequestValidationError:
            app.add_exception_handler(kind, _as_page(handler))


def _as_page(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        answer = handler(request, error)
        problem: Response = await answer if isinstance(answer, Awaitable) else answer
        if not wants_page(request):
            return problem
        found = error if isinstance(error, ControllerError) else _error_of(problem)
        return error_page(request, found)

    return handle


def _error_of(problem: Response) -> ControllerError:
    """What a problem document says, as the error that a page shows."""
    document = json.loads(bytes(problem.body))
    fields = [f"{item['field'].partition('.')[2]}: {item['message']}" for item in document.get("errors", [])]
    error = ControllerError(" ".join([document["detail"], "; ".join(fields)]).strip())
    error.status, error.code = document["status"], document["code"]
    return error
