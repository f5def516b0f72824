"""The way in for the three requests that every board makes all the time: the same rules as ``guard``, at a third of its cost.

FastAPI's own path reads a body twice (JSON, then the model), solves dependencies anew for every request, and keeps two
stacks for what they leave behind, 4 KB of each held poll. These routes are declared as usual, with ``body``, ``device_id``
and ``services``, so that the OpenAPI document is the same, and are served here: the device's credential from memory, the
body by one pass of its model. What they raise becomes an answer one level further out, in Starlette's ExceptionMiddleware.
"""

import json
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from edgefleet_controller.auth.access import Role, required_role
from edgefleet_controller.auth.guard import admit_device
from edgefleet_controller.services import Services

Endpoint = Callable[[Any, str, Services, Request], Awaitable[Response]]


class AgentRoute(APIRoute):
    """A POST route of devices: ``async def endpoint(body: Model, device_id, services, request) -> Response``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler; refuses to exist for a route that is not the devices' own."""
        for method in self.methods or ():
            if required_role(method, self.path) is not Role.DEVICE:
                raise ValueError(f"{method} {self.path} is no route of devices, see auth.access")
        endpoint: Endpoint = self.endpoint
        model: type[BaseModel] = self.endpoint.__annotations__["body"]
        action = f"POST {self.path}"

        async def handle(request: Request) -> Response:
            services: Services = request.app.state.services
            device_id = await admit_device(request, services, action)
            return await endpoint(_parse(model, await request.body()), device_id, services, request)

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request; another method than the route's is refused as everywhere."""
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self._serve(Request(scope, receive, send))
        await response(scope, receive, send)

    @cached_property
    def _serve(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.get_route_handler()


def _parse(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        return model.model_validate_json(raw)
    except ValidationError as err:
        problems = [{**item, "loc": ("body", *item["loc"])} for item in err.errors(include_url=False)]
        raise RequestValidationError(problems, body=_loose(raw)) from err


def _loose(raw: bytes) -> Any:
    """The body as far as it is JSON, so that an older protocol can be told from a mistake."""
    try:
        return json.loads(raw)
    except ValueError:
        return None
